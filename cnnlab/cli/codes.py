"""Classify a data set by CNN codes: a layer of a trained network, and a classifier of scikit-learn.

  cnnlab codes --workdir=runs/resnet50 --config.data.name=folder:cells
  cnnlab codes --workdir=runs/vgg19 --layer=stage3,stage4,stage5 --grid=2 --classifier=linear,svm,knn \
    --config.data.name=tfds:cifar10 --config.data.dir=DATA_DIR --config.data.train_examples=1000 --out=codes

The network is not trained. Its layer is computed once for every image and kept in the cache. C of
`linear` (logistic regression) and `svm`, and k of `knn`, are chosen by cross-validation of the
training examples; the evaluation split is used once. Of the keys of `data`, those that name examples and sizes
can be given. With --out, the table is saved as CSV and JSON, and the codes of each layer as .npz. The
last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cnnlab.codes import Codes, Score
  from cnnlab.types import Json

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  add = parser.add_argument
  add("--workdir", required=True, metavar="DIR", help="a run or checkpoint directory")
  add(
    "--layer", metavar="NAMES", help="stages (default: what the classifier sees, or the last map)"
  )
  add(
    "--grid", type=int, default=1, metavar="N",
    help="average maps over N x N regions (default: 1, the whole map); 0 flattens them",
  )  # fmt: skip
  add("--classifier", default="linear", metavar="NAMES", help="of linear, svm and knn")
  add("--values", metavar="NUMBERS", help="of C or k to choose from; one alone is taken as it is")
  add("--out", metavar="DIR", help="a new directory to write to")
  add("--config.data.KEY", metavar="VALUE", help="a key of the data, such as data.name or data.dir")


def run(arguments: argparse.Namespace) -> int:
  """Extracts codes and classifies them; returns the exit code."""
  from cnnlab.cli.progress import Working
  from cnnlab.codes import CLASSIFIERS, classify, opened
  from cnnlab.config import parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.errors import ConfigError, printable, unknown
  from cnnlab.runs.files import new_folder

  overrides = parse_overrides(arguments.overrides, default_config())
  names = arguments.classifier.split(",")
  for name in names:
    if name not in CLASSIFIERS:
      raise ConfigError(unknown("value of --classifier", name, CLASSIFIERS))
  if not 0 <= arguments.grid <= 1000:
    raise ConfigError(f"--grid is {arguments.grid}; allowed: 0 to 1000")
  values = None if arguments.values is None else _numbers(arguments.values)
  out = new_folder("--out", arguments.out) if arguments.out is not None else None
  layers: dict[str, Codes] = {}
  rows = []
  with opened(arguments.workdir, overrides) as extractor:
    stages = extractor.trained.stages()
    asked = arguments.layer.split(",") if arguments.layer else [extractor.last_layer]
    for layer in asked:
      if layer not in stages:
        raise ConfigError(unknown("value of --layer", layer, stages))
    for layer in asked:
      with Working(f"{layer}: codes") as bar:
        layers[layer] = extractor.extract(layer, grid=arguments.grid, progress=bar.count)
      for name in names:
        with Working(f"{layer}: {name}"):
          rows.append(_row(layers[layer], classify(layers[layer], name, values)))
  _show(rows)
  for file in _write(out, rows, layers) if out is not None else []:
    print(printable(f"saved: {file}"))
  print(json.dumps({"results": rows}))
  return 0


def _numbers(text: str) -> list[float]:
  from cnnlab.errors import ConfigError

  try:
    return [float(part) for part in text.split(",")]
  except ValueError:
    raise ConfigError(f"--values is {text!r}; allowed: numbers, such as 0.01,0.1,1") from None


def _row(codes: Codes, score: Score) -> Json:
  return {
    "layer": codes.layer,
    "size": codes.train.codes.shape[1],
    "classifier": score.classifier,
    "strength": f"{score.strength} = {score.value:g}",
    "train_examples": score.train_examples,
    "eval_examples": score.eval_examples,
    "train_error": score.train_error,
    "eval_error": score.eval_error,
    "validation_errors": {f"{value:g}": error for value, error in score.validation_errors.items()},
    "converged": score.converged,
  }


def _show(rows: list[Json]) -> None:
  from rich.table import Table

  from cnnlab.terminal import SafeConsole

  table = Table()
  for heading in ("layer", "codes", "classifier", "chosen", "error, %", "training set"):
    table.add_column(heading, justify="left" if heading in ("layer", "classifier") else "right")
  for row in rows:
    numbers = [f"{100 * row[f'{part}_error']:.2f}" for part in ("eval", "train")]
    chosen = row["strength"] + ("" if row["converged"] else ", not converged")
    table.add_row(row["layer"], f"{row['size']:,}", row["classifier"], chosen, *numbers)
  table.caption = (
    f"{rows[0]['eval_examples']:,} examples evaluated, {rows[0]['train_examples']:,} trained on"
  )
  table.caption_justify = "left"
  SafeConsole().print(table)


def _write(out: Path, rows: list[Json], layers: dict[str, Codes]) -> list[Path]:
  import io

  import numpy as np
  import pandas as pd

  from cnnlab.runs.files import make_folder, write_bytes, write_json, write_text

  make_folder(out)
  table = pd.DataFrame(rows).drop(columns="validation_errors")
  write_text(out / "results.csv", table.to_csv(index=False))
  write_json(out / "results.json", {"results": rows})
  written = [out / "results.csv", out / "results.json"]
  for layer, codes in layers.items():
    buffer = io.BytesIO()
    parts = {"train": codes.train, "eval": codes.eval}
    arrays = {f"{n}_{f}": getattr(p, f) for n, p in parts.items() for f in p._fields}
    np.savez(buffer, class_names=np.array(codes.class_names), **arrays)  # type: ignore[arg-type]
    written.append(out / f"{layer}.npz")
    write_bytes(written[-1], buffer.getvalue())
  return written
