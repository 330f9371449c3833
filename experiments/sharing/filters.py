"""Draws the first layer's filters in a finished sweep: shared ones beside those of every position.

The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.sharing.filters runs/sharing
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cnnlab.errors import RunError
from cnnlab.lab.report.write import FIGURES
from cnnlab.lab.script import run_script
from cnnlab.plot_style import STYLE, note, page, save
from cnnlab.runs import load

LAYER = "block1_conv1"
MOST_SHARED = 16
LOCAL = 2  # output channels of a locally connected layer that are drawn

Pair = tuple[np.ndarray, np.ndarray]  # kernels of the shared and of the local layer


def filters_of_sweep(sweep: Path) -> dict[str, Pair]:
  """Returns the kernels of both forms by data set.

  Those of the local layer have height and width before the axes of a shared one. They are of the
  first seed whose runs are finished in both forms.

  Raises:
    RunError: there is none.
  """
  found: dict[str, Pair] = {}
  for directory in sorted(sweep.glob("shared_*/seed*")):
    name = directory.parent.name.removeprefix("shared_")
    runs = load(directory), load(sweep / f"local_{name}" / directory.name)
    if name not in found and all(run.status.get("status") == "done" for run in runs):
      shared, local = (np.asarray(run.variables["params"][LAYER]["kernel"]) for run in runs)
      found[name] = shared, local
  if not found:
    raise RunError(f"{str(sweep)!r} has no seed whose shared and local nets are finished")
  return found


def mosaic(filters: np.ndarray) -> np.ndarray:
  """Returns an image of filters [rows, columns, height, width, 1 or 3].

  White lines separate them. Zero is gray; the largest weight of all is black or white, or a pure
  color.
  """
  rows, columns, height, width, _ = filters.shape
  scaled = 0.5 + 0.5 * filters / max(float(np.abs(filters).max()), 1e-12)
  image = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, 3))
  for row, column in np.ndindex(rows, columns):
    top, left = row * (height + 1) + 1, column * (width + 1) + 1
    image[top : top + height, left : left + width] = scaled[row, column]
  return image


def filters_figure(kernels: Mapping[str, Pair]) -> Figure:
  """Draws a row for each data set: shared filters, and two channels' filters at all positions."""
  with matplotlib.rc_context({**STYLE, "axes.grid": False}):
    figure = page(3.2 * (1 + LOCAL), 3.5 * len(kernels) + 0.4)
    panels = figure.subplots(len(kernels), 1 + LOCAL, squeeze=False)
    for axes, (name, (shared, local)) in zip(panels, kernels.items(), strict=True):
      count = min(shared.shape[-1], MOST_SHARED)
      side = max(n for n in range(1, count + 1) if n * n <= count)
      grid = np.moveaxis(shared[..., : side * side], -1, 0)
      axes[0].imshow(mosaic(grid.reshape(side, side, *grid.shape[1:])), interpolation="nearest")
      axes[0].set_title(f"{name}: {side * side} shared filters")
      strongest = np.argsort(-np.square(local).sum(axis=(0, 1, 2, 3, 4)), kind="stable")[:LOCAL]
      for panel, channel in zip(axes[1:], strongest, strict=True):
        panel.imshow(mosaic(local[..., channel]), interpolation="nearest")
        panel.set_title(f"{name}: channel {channel}, by position")
    for panel in panels.flat:
      panel.set_axis_off()
    note(
      figure,
      "Weights of the first layer; gray is zero, and each panel has its own scale. A locally connected "
      "layer has a filter of its own at each position, drawn where it lies in the image; the channels "
      "are the two of the largest weights.",
    )
  return figure


def main(directory: Path) -> None:
  """Writes figures/filters.{svg,png} to a sweep's directory."""
  print(save(filters_figure(filters_of_sweep(directory)), directory / FIGURES, "filters"))


if __name__ == "__main__":
  run_script(main, __doc__)
