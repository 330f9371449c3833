"""The figures and pictures of a report: which are drawn, copied, and shown in its pages."""

from __future__ import annotations

import base64
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from cnnlab import panels
from cnnlab.errors import RunError
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import curves, forest, plots
from cnnlab.lab.statistics.verdicts import Verdict
from cnnlab.plot_style import save
from cnnlab.runs.loading import Run

PICTURES = "pictures"  # in a run's directory: predictions drawn by its task
MOST_PICTURES = 8  # per variant

_MEDIA = {".svg": "svg+xml", ".png": "png"}


def draw(
  sweep: Path,
  experiment: Experiment,
  runs: pd.DataFrame,
  summary: pd.DataFrame,
  verdicts: Sequence[Verdict],
  folder: Path,
) -> dict[str, Path]:
  """Draws and saves the figures that the results allow.

  Args:
    sweep: the sweep's directory.
    experiment: the experiment.
    runs, summary, verdicts: of `results.collect`, `statistics.summarize` and `verdicts.judge`.
    folder: where they are saved.

  Returns:
    {title: SVG file}, each next to a PNG file.
  """
  logged = _curves(sweep, runs)
  drawn: dict[str, Callable[[], Figure | None]] = {
    "claims": lambda: forest.claims(experiment, verdicts),
    "differences": lambda: plots.differences(experiment, runs, summary),
    "error_bars": lambda: plots.error_bars(experiment, runs, summary),
    "accuracy_cost": lambda: plots.accuracy_against_cost(experiment, summary),
  }
  for name, metrics in curves.pairs(experiment).items():
    title = f"curves_{name.replace('/', '_')}"
    drawn[title] = functools.partial(curves.learning_curves, experiment, logged, metrics)
  figures = ((name, made()) for name, made in drawn.items())
  return {name: save(figure, folder, name) for name, figure in figures if figure is not None}


def copy_own(source: Path, folder: Path) -> dict[str, Path]:
  """Copies the figures drawn by an experiment's own script, with the files of their numbers."""
  drawn = sorted(source.glob("*.svg"))
  drawn += [p for p in sorted(source.glob("*.png")) if p.with_suffix(".svg") not in drawn]
  folder.mkdir(parents=True, exist_ok=True)
  for figure in drawn:
    for file in source.glob(f"{figure.stem}.*"):
      shutil.copyfile(file, folder / file.name)
  return {figure.stem: folder / figure.name for figure in drawn}


def copy_pictures(sweep: Path, runs: pd.DataFrame, folder: Path) -> dict[str, Path]:
  """Copies the pictures of each variant's first finished run; returns {title: PNG file}.

  Where all have kept the parts of their pictures, each example gets one picture of all variants.
  """
  pictures = {}
  folder.mkdir(parents=True, exist_ok=True)
  done = runs[runs["status"] == "done"].drop_duplicates("variant")
  if together := _beside(sweep, done, folder):
    return together
  for row in done.to_dict("records"):
    drawn = sorted((sweep / row["directory"] / PICTURES).glob("*.png"))
    for picture in drawn[:MOST_PICTURES]:
      name = f"{row['variant']}_seed{row['seed']}_{picture.stem}"
      shutil.copyfile(picture, folder / f"{name}.png")
      pictures[f"{row['variant']}, seed {row['seed']}: {picture.stem}"] = folder / f"{name}.png"
  return pictures


def _beside(sweep: Path, done: pd.DataFrame, folder: Path) -> dict[str, Path]:
  """Draws what each of some runs predicts for an example in one picture; returns {title: file}."""
  places = {
    row["variant"]: sweep / row["directory"] / PICTURES / panels.FOLDER
    for row in done.to_dict("records")
  }
  kept = [{one.name for one in place.glob("*")} for place in places.values()]
  drawn = {}
  for name in sorted(set.intersection(*kept))[:MOST_PICTURES] if kept else ():
    try:
      networks = {label: panels.read(place / name) for label, place in places.items()}
    except OSError:
      return {}  # the runs' own pictures may be whole
    drawn[name] = folder / f"{name}.png"
    Image.fromarray(panels.beside(networks)).save(drawn[name])
  return drawn


def copy_run_pictures(run: Path, folder: Path) -> dict[str, Path]:
  """Copies the pictures that a run's task has drawn; returns {title: PNG file}."""
  folder.mkdir(parents=True, exist_ok=True)
  drawn = sorted((run / PICTURES).glob("*.png"))[:MOST_PICTURES]
  return {p.stem: Path(shutil.copyfile(p, folder / p.name)) for p in drawn}


def shown(figures: Mapping[str, Path], folder: Path) -> list[dict[str, str]]:
  """Returns the name, the path relative to the report, and the data URI of each figure.

  Markdown shows the PNG file of a figure; HTML shows the SVG file if there is one.
  """
  return [
    {
      "name": name.replace("_", " "),
      "path": path.with_suffix(".png").relative_to(folder).as_posix(),
      "uri": f"data:image/{_MEDIA[path.suffix]};base64,"
      + base64.b64encode(path.read_bytes()).decode(),
    }
    for name, path in figures.items()
  ]


def _curves(sweep: Path, runs: pd.DataFrame) -> dict[str, list[curves.Curve]]:
  found: dict[str, list[curves.Curve]] = {}
  for row in runs.to_dict("records"):
    if row["status"] in ("missing", "damaged", "other config"):
      continue
    try:
      metrics = Run(sweep / row["directory"]).metrics
    except RunError:
      continue  # the table of runs shows the error
    found.setdefault(row["variant"], []).append(curves.Curve(metrics, row["status"] == "done"))
  return found
