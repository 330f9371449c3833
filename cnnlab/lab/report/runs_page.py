"""A page that compares runs: one HTML file that sorts, filters and draws curves without a server.

Names and values of runs reach the page as JSON and are only ever written as text, so that no name
can become markup or a program; the page loads nothing from anywhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cnnlab.errors import RunError
from cnnlab.lab.report import wording
from cnnlab.runs.directory import read_json, write_text
from cnnlab.runs.loading import Run
from cnnlab.runs.table import flat_config, main_metric, runs_table
from cnnlab.types import Json

MOST_POINTS = 60  # of a curve
MOST_CURVES = 4  # metrics of a run whose curves are kept
MOST_KEYS = 12  # config keys with a column of their own; the others share one
MOST_LETTERS = 300  # of a text


def write_runs_page(directory: str | os.PathLike[str], file: str | os.PathLike[str]) -> Path:
  """Writes the page of all runs at or below a directory, and returns its path.

  Args:
    directory: where to look for runs.
    file: the HTML file to write; its folder is made if need be.

  Raises:
    RunError: the directory does not exist, or the file cannot be written.
  """
  path = Path(file)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(Path(directory)))
  except OSError as error:
    raise RunError(f"cannot write {path}: {error.strerror or error}") from error
  return path


def render(root: Path) -> str:
  """Returns the page of all runs at or below a directory.

  Raises:
    RunError: the directory does not exist.
  """
  table = runs_table(root)
  runs = [_run(root / str(row["run"]), row) for row in table.to_dict("records")]
  keys = _varying([run["config"] for run in runs])
  for run in runs:
    run["config"] = {key: run["config"][key] for key in keys if key in run["config"]}
  content = {
    "root": str(root),
    "keys": keys[:MOST_KEYS],
    "further": keys[MOST_KEYS:],
    "runs": runs,
    "meanings": wording.STATUSES,
  }
  pages = Environment(
    loader=PackageLoader("cnnlab.lab.report"),
    autoescape=select_autoescape(default_for_string=True, default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  page = pages.get_template("runs.html.j2")
  return page.render(data=embed(content), title=f"Runs in {root.name or root}")


def embed(value: object) -> str:
  """Returns a value as JSON that can stand in a script element: it cannot end the element."""
  text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
  return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _run(directory: Path, row: wording.Row) -> Json:
  """Returns what the page shows of a run; what cannot be read is left out."""
  run = Run(directory)
  shown: Json = {
    "run": str(row["run"])[:MOST_LETTERS],
    "status": str(row["status"]),
    "step": _number(row["step"]),
    "total": _number(row["total_steps"]),
    "reason": _short(row["reason"] if isinstance(row["reason"], str) else ""),
    "metric": "", "last": None, "best": None, "seconds": None, "parameters": None,
    "config": {}, "curves": {},
  }  # fmt: skip
  try:
    shown["seconds"] = _number(run.status.get("seconds"))
    if not (directory / "config.json").is_file():
      return shown
    describe = wording.describe_metrics_of(directory)
    name, _ = main_metric(directory)
    metric = describe(name)
    shown |= {"metric": metric.label, "config": _texts(flat_config(directory))}
    shown |= {x: _number(row[x], metric.factor) for x in ("last", "best")}
    derived = read_json(directory / "config.json").get("derived", {})
    shown["parameters"] = _number(derived.get("parameters"))
    logged = run.metrics
  except Exception:  # JSON may hold anything; the table of runs says what is damaged
    return shown
  names = [x for x in (name, "train/loss", "train/error", "eval/cross_entropy") if x in logged]
  for each in dict.fromkeys(names[:MOST_CURVES]):
    described = describe(each)
    shown["curves"][described.label] = _curve(logged, each, described.factor)
  return shown


def _curve(logged: pd.DataFrame, metric: str, factor: float) -> list[list[float]]:
  """Returns the steps and the values of a curve, thinned to `MOST_POINTS`, the last included."""
  values = pd.to_numeric(logged[metric], errors="coerce").to_numpy(float) * factor
  steps = pd.to_numeric(logged["step"], errors="coerce").to_numpy(float)
  good = np.flatnonzero(np.isfinite(values) & np.isfinite(steps))
  if len(good) > MOST_POINTS:
    good = good[np.linspace(0, len(good) - 1, MOST_POINTS).round().astype(int)]
  return [[float(x) for x in steps[good]], [float(f"{x:.5g}") for x in values[good]]]


def _varying(configs: Sequence[Json]) -> list[str]:
  """Returns the keys that are not the same in all runs, those with fewer values first."""
  readable = [config for config in configs if config]
  keys = sorted({key for config in readable for key in config})
  counts = {key: len({config.get(key) for config in readable}) for key in keys}
  return sorted((key for key in keys if counts[key] > 1), key=lambda key: (counts[key], key))


def _texts(config: Json) -> dict[str, str]:
  return {
    str(key)[:MOST_LETTERS]: _short(value if isinstance(value, str) else json.dumps(value))
    for key, value in config.items()
  }


def _short(text: str) -> str:
  return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _number(value: object, factor: float = 1.0) -> float | None:
  if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
    return None
  number = float(value) * factor
  return number if math.isfinite(number) else None
