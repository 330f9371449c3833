"""The analysis of an evaluation: made by the run's task, with the images that it picks, and saved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cnnlab import data
from cnnlab.errors import DataError
from cnnlab.plot_style import STYLE, WIDTH, page, save
from cnnlab.runs.files import make_folder, write_text
from cnnlab.runs.loading import Run
from cnnlab.tasks.analysis import Analysis, with_classes
from cnnlab.train.evaluate import Evaluation, Progress
from cnnlab.train.restore import config_from_json, restored
from cnnlab.train.settings import Settings

PER_ROW = 6  # images of a grid


class Analyzed(NamedTuple):
  """An evaluation with what its task tells of it.

  Attributes:
    metrics: as of `evaluate_run`.
    analysis: None if the task makes none.
    images: of the analysis' picks, uint8 [picks, height, width, channels], as the network sees them.
  """

  metrics: dict[str, Any]
  analysis: Analysis | None
  images: np.ndarray


def analyze_run(
  directory: str | Path,
  overrides: Mapping[str, Any] | None = None,
  progress: Progress | None = None,
  reestimate: int = 0,
) -> Analyzed:
  """Evaluates the newest good checkpoint below `directory`, and has its task analyze the examples.

  Args:
    directory, overrides, reestimate: as of `cnnlab.train.restore.restored`.
    progress: called with (evaluated batches, batches in all).

  Raises:
    RunError, ConfigError: as `restored` does.
  """
  with restored(directory, overrides, reestimate) as run:
    metrics, examples = Evaluation(run.setup, progress=progress).with_examples(run.state)
    task = run.setup.program.task
    analysis = with_classes(task.analyze(examples), metrics, task.metrics, examples)
    images = _picked(analysis, run.setup.data.eval, run.setup.program.preprocess)
    return Analyzed({"step": run.step, **metrics}, analysis, images)


def images_of_picks(run: Run, analysis: Analysis) -> np.ndarray:
  """Returns the images that the analysis of a run's `examples` picks, from its data set.

  Raises:
    DataError: the data set is not there, or holds other examples than were evaluated.
    RunError: config.json is damaged.
  """
  settings = Settings.read(config_from_json(run.config.to_dict()))
  size = settings.run.batch_size
  loaded = data.load(settings.data, seed=0, batch_size=size, eval_batch_size=size)
  try:
    if loaded.eval.num_examples < len(analysis.examples):
      raise DataError(
        f"the evaluation split has {loaded.eval.num_examples} examples; "
        f"{len(analysis.examples)} were evaluated"
      )
    return _picked(analysis, loaded.eval, loaded.preprocess)
  finally:
    loaded.close()


def _picked(
  analysis: Analysis | None, split: data.Split, preprocess: data.Preprocess
) -> np.ndarray:
  if analysis is None or not analysis.picks:
    return np.zeros((0, *preprocess.image_size, preprocess.channels), np.uint8)
  images = split.examples([pick.example for pick in analysis.picks])["image"]
  return preprocess.crop(images)


def save_analysis(found: Analyzed, folder: Path) -> list[Path]:
  """Writes metrics.json and, if the task makes an analysis, its tables, figures and picked examples.

  Returns:
    The files, PNG files beside an SVG file left out.

  Raises:
    RunError: the folder cannot be written.
  """
  make_folder(folder)
  metrics = folder / "metrics.json"
  summary = dict(found.analysis.summary) if found.analysis else {}
  write_text(metrics, json.dumps(found.metrics | summary, indent=2) + "\n")
  return [metrics, *(_save_parts(found.analysis, found.images, folder) if found.analysis else [])]


def save_tables(analysis: Analysis, folder: Path) -> list[Path]:
  """Writes each table of an analysis, and that of its examples, as CSV; returns the files.

  Raises:
    RunError: the folder cannot be written.
  """
  frames = {name: table.frame for name, table in analysis.tables.items()}
  written = []
  for name, frame in (frames | {"examples": analysis.examples}).items():
    written.append(folder / f"{name}.csv")
    write_text(written[-1], frame.to_csv(index=False))
  return written


def _save_parts(analysis: Analysis, images: np.ndarray, folder: Path) -> list[Path]:
  figures = {name: draw() for name, draw in analysis.figures.items()}
  if analysis.picks:
    figures[analysis.picks_name] = image_grid(images, [pick.caption for pick in analysis.picks])
  drawn = [save(figure, folder, name) for name, figure in figures.items()]
  return [*save_tables(analysis, folder), *drawn]


def image_grid(images: np.ndarray, captions: Sequence[str]) -> Figure:
  """Returns images side by side, each below its caption.

  Args:
    images: uint8 [images, height, width, 1 or 3].
    captions: one for each; short lines.
  """
  columns = min(PER_ROW, len(images))
  rows, lines = math.ceil(len(images) / columns), max(c.count("\n") + 1 for c in captions)
  width, ratio = WIDTH / PER_ROW, images.shape[1] / images.shape[2]
  with matplotlib.rc_context(STYLE):
    figure = page(columns * width, rows * (width * ratio + 0.16 * lines))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
      axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
      shown = image[:, :, 0] if image.shape[-1] == 1 else image
      axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
      axes.set_title(caption, fontsize=7.5, fontweight="normal", loc="center", pad=3)
  return figure
