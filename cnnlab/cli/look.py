"""Look inside a trained classifier: pictures, with the numbers that they show beside them.

  cnnlab look --workdir=runs/x --out=inside
  cnnlab look --workdir=runs/x --what=saliency,grad_cam --stage=stage2 --out=inside cat.png photos
  cnnlab look --workdir=runs/x --what=adversarial --epsilons=0,2,4,8 --examples=500 --out=attacks

Without images, examples of the evaluation split are taken, evenly spaced. `adversarial` always
takes that split, whose labels it needs; the keys of `data` can be overridden, such as
--config.data.dir=DIR.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cnnlab.errors import ConfigError, printable, unknown

if TYPE_CHECKING:
  import numpy as np
  import pandas as pd
  from matplotlib.figure import Figure

  from cnnlab.runs.trained import Trained
  from cnnlab.types import Json

TAKES_OVERRIDES = True
ATTRIBUTIONS = (
  "saliency", "guided_backpropagation", "integrated_gradients", "occlusion", "grad_cam",
)  # fmt: skip
MOST_IMAGES = 24  # rows of a figure
WHAT = ("filters", "activations", *ATTRIBUTIONS, "adversarial")


class Looked(NamedTuple):
  """What is to be written, by the names of the files.

  Attributes:
    strict: whether what a network does not allow is an error; otherwise it is told and left out.
    figures, tables, arrays: of each file.
  """

  strict: bool
  figures: dict[str, Figure]
  tables: dict[str, pd.DataFrame]
  arrays: dict[str, dict[str, np.ndarray]]

  @contextlib.contextmanager
  def attempt(self, what: str) -> Iterator[None]:
    """Inside, a ConfigError counts as `strict` says."""
    try:
      yield
    except ConfigError as error:
      if self.strict:
        raise
      print(printable(f"left out: {what}: {error}"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a classifier's run or checkpoint directory"
  )
  parser.add_argument("--out", required=True, metavar="DIR", help="a new directory to write to")
  parser.add_argument(
    "--what", metavar="NAMES",
    help=f"of {', '.join(WHAT)} (default: all but the last, as far as the network allows)",
  )  # fmt: skip
  parser.add_argument(
    "--stage", metavar="NAME", help="map for activations and grad_cam (default: the last)"
  )
  parser.add_argument(
    "--count", type=int, default=6, help="images of the evaluation split (default 6)"
  )
  parser.add_argument(
    "--examples", type=int, default=256, help="images that are attacked (default 256)"
  )
  parser.add_argument(
    "--epsilons", default="0,1,2,4,8,16", metavar="LEVELS",
    help="sizes of attacks in levels of 0 to 255 (default 0,1,2,4,8,16)",
  )  # fmt: skip
  parser.add_argument(
    "--config.data.KEY", metavar="VALUE", help="override a key of the data, such as data.dir"
  )
  parser.add_argument(
    "images", nargs="*", metavar="IMAGE", help="PNG, JPEG, BMP or WebP files, or folders of them"
  )


def run(arguments: argparse.Namespace) -> int:
  """Writes pictures and numbers; returns the exit code."""
  from cnnlab.config import parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.inspect.network import require_map
  from cnnlab.runs import load
  from cnnlab.runs.files import new_folder
  from cnnlab.tasks import Classification
  from cnnlab.train.compile_cache import enable_compile_cache

  overrides = parse_overrides(arguments.overrides, default_config())
  strict = arguments.what is not None
  what = [name for name in arguments.what.split(",") if name] if strict else list(WHAT[:-1])
  for name in what:
    if name not in WHAT:
      raise ConfigError(unknown("value of --what", name, WHAT))
  if not what:
    raise ConfigError(f"--what is empty; allowed: {', '.join(WHAT)}")
  if not 1 <= arguments.count <= MOST_IMAGES or arguments.examples < 1:
    raise ConfigError(
      f"--count is {arguments.count} and --examples {arguments.examples}; allowed: 1 to {MOST_IMAGES}, "
      "and 1 or more"
    )
  epsilons = _epsilons(arguments.epsilons)
  out = new_folder("--out", arguments.out)
  enable_compile_cache()
  trained = load(arguments.workdir).trained
  if not isinstance(trained.task, Classification):
    raise ConfigError(
      f"--workdir {arguments.workdir}: cnnlab look takes runs of classification only"
    )
  shape = (*trained.preprocess.image_size, trained.preprocess.channels)
  looked = Looked(strict, {}, {}, {})
  if "filters" in what:
    with looked.attempt("filters"):
      _look_at_filters(trained, looked)
  stage = ""
  if {"activations", "grad_cam"} & {*what} or arguments.stage is not None:
    stage = require_map(trained, shape, arguments.stage)
  methods = [name for name in what if name in ATTRIBUTIONS]
  if methods or "activations" in what:
    names, stored = (
      _given(trained, arguments.images)
      if arguments.images
      else _from_split(arguments.workdir, overrides, arguments.count)[:2]
    )
    if "activations" in what:
      _look_at_activations(trained, stage, names, stored, looked)
    if methods:
      labels = trained.task.class_names
      _attribute(trained, labels, methods, stage, names, stored, looked)
  if "adversarial" in what:
    _attack(
      trained, _from_split(arguments.workdir, overrides, arguments.examples), epsilons, looked
    )
  for file in _write(looked, out):
    print(printable(f"saved: {file}"))
  return 0


def _epsilons(text: str) -> list[float]:
  try:
    found = sorted({float(part) for part in text.split(",")})
  except ValueError:
    found = []
  if not found or not 0 <= found[0] <= found[-1] <= 255:
    raise ConfigError(f"--epsilons is {text!r}; allowed: numbers from 0 to 255, such as 0,2,8")
  return found


def _given(trained: Trained, images: list[str]) -> tuple[list[str], np.ndarray]:
  """Returns the names of images and the images as stored, uint8 [images, height, width, channels]."""
  import numpy as np

  from cnnlab.data.given import fitted

  each = fitted(images, trained.preprocess.stored_size, trained.preprocess.channels)
  found = list(itertools.islice(each, MOST_IMAGES + 1))
  if len(found) > MOST_IMAGES:
    raise ConfigError(f"more than {MOST_IMAGES} images are given; allowed: 1 to {MOST_IMAGES}")
  return [Path(one.name).name for one in found], np.stack([one.stored for one in found])


def _from_split(
  workdir: str, overrides: Json, count: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
  """Returns names, stored images and labels of evenly spaced examples of the evaluation split."""
  import numpy as np

  from cnnlab.train.restore import restored

  with restored(workdir, overrides) as run:
    split, names = run.setup.data.eval, run.setup.data.class_names
    count = min(count, split.num_examples)
    indices = (np.arange(count) * split.num_examples // count).tolist()
    examples = split.examples(indices)
  labels = np.asarray(examples["label"])
  titles = [f"example {i}: {names[label]}" for i, label in zip(indices, labels, strict=True)]
  return titles, np.asarray(examples["image"]), labels


def _look_at_filters(trained: Trained, looked: Looked) -> None:
  from cnnlab.inspect.grids import filters, tiles_figure

  found = filters(trained, (*trained.preprocess.image_size, trained.preprocess.channels))
  looked.figures["filters"] = tiles_figure(found, f"Filters of {found.layer}")
  looked.tables["filters"] = found.table
  looked.arrays["filters"] = {"filters": found.images}


def _look_at_activations(
  trained: Trained, stage: str, names: list[str], stored: np.ndarray, looked: Looked
) -> None:
  """Draws those of the first image."""
  from cnnlab.inspect.grids import activations, tiles_figure

  maps = trained.embeddings(stored, stage, pooled=False)
  found = activations(stage, maps[0])
  looked.figures["activations"] = tiles_figure(found, f"Activations of {stage}, {names[0]}")
  looked.tables["activations"] = found.table
  looked.arrays["activations"] = {"images": stored, "maps": maps}


def _attribute(
  trained: Trained,
  labels: tuple[str, ...],
  methods: list[str],
  stage: str,
  names: list[str],
  stored: np.ndarray,
  looked: Looked,
) -> None:
  import jax
  import numpy as np
  import pandas as pd

  from cnnlab.inspect import attribution
  from cnnlab.inspect.grids import attribution_figure
  from cnnlab.inspect.network import logits

  inputs = trained.inputs(stored)
  out = logits(trained, inputs)
  classes, probabilities = np.asarray(out).argmax(-1), np.asarray(jax.nn.softmax(out))
  found: dict[str, np.ndarray] = {}
  for method in methods:
    options = {"stage": stage} if method == "grad_cam" else {}
    with looked.attempt(method):
      found[method] = getattr(attribution, method)(trained, inputs, classes, **options)
  labels += tuple(map(str, range(len(labels), out.shape[1])))  # outputs without a class
  confidence = probabilities[np.arange(len(classes)), classes]
  predicted = [labels[i] for i in classes]
  captions = [
    f"{_short(name)}\n{_short(label)}, {share:.1%}"
    for name, label, share in zip(names, predicted, confidence, strict=True)
  ]
  # Signed shares of channels are added, so that a pixel's sign can be read.
  shown = {m: a.sum(-1) if m == "integrated_gradients" else a for m, a in found.items()}
  (top, left), (height, width) = trained.preprocess.center, trained.preprocess.image_size
  seen = stored[:, top : top + height, left : left + width]
  looked.figures["attributions"] = attribution_figure(seen, captions, shown)
  rows = np.arange(len(classes)), classes
  table = pd.DataFrame({"image": names, "class": predicted, "probability": confidence})
  table["logit"] = np.asarray(out)[rows]
  if "integrated_gradients" in found:  # which sum to the difference, but for the integral's error
    empty = np.asarray(logits(trained, np.zeros_like(inputs)))[rows]
    table["difference_to_baseline"] = table["logit"] - empty
    table["sum_of_integrated_gradients"] = found["integrated_gradients"].sum((1, 2, 3))
  looked.tables["attributions"] = table
  looked.arrays["attributions"] = {"images": stored, "inputs": inputs, "classes": classes, **found}


def _short(text: str, most: int = 22) -> str:
  return text if len(text) <= most else f"{text[: most - 1]}…"


def _attack(
  trained: Trained,
  examples: tuple[list[str], np.ndarray, np.ndarray],
  epsilons: list[float],
  looked: Looked,
) -> None:
  from cnnlab.inspect.adversarial import Target, accuracy_under_attack
  from cnnlab.inspect.grids import attack_figure

  _, stored, labels = examples
  table = accuracy_under_attack(Target.of(trained), stored, labels, epsilons)
  looked.tables["adversarial"] = table
  looked.figures["adversarial"] = attack_figure(table)


def _write(looked: Looked, folder: Path) -> list[Path]:
  import io

  import numpy as np

  from cnnlab.plot_style import save
  from cnnlab.runs.files import make_folder, write_bytes, write_text

  make_folder(folder)
  written = [
    save(figure, folder, name).with_suffix(".png") for name, figure in looked.figures.items()
  ]
  for name, table in looked.tables.items():
    written.append(folder / f"{name}.csv")
    write_text(written[-1], table.to_csv(index=False))
  for name, arrays in looked.arrays.items():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    written.append(folder / f"{name}.npz")
    write_bytes(written[-1], buffer.getvalue())
  return written
