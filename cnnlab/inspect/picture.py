"""A figure of a network's memory and multiply-adds by layer.

The colors are those of Okabe and Ito, which color-blind readers can tell apart. No display is
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from cnnlab.errors import ConfigError, unknown
from cnnlab.inspect.sheet import Sheet
from cnnlab.plot_style import BLUE, GREEN, STYLE, VERMILION, page

MOST_BARS = 40  # above, the layers of a block share one bar
FORMATS = ("pdf", "png", "svg")


class Bar(NamedTuple):
  """A layer or a block of layers; memory in bytes."""

  name: str
  activations: int
  weights: int
  multiply_adds: int


def bars(sheet: Sheet) -> list[Bar]:
  """Returns a bar per layer (block in deep nets); norms and poolings join the layer before."""
  by_block = sum(row.multiply_adds > 0 for row in sheet.rows) > MOST_BARS
  found: list[Bar] = []
  for row in sheet.rows:
    memory = sheet.row_memory(row)
    activations = memory.pop("activations")
    bar = Bar(row.name, activations, sum(memory.values()), row.multiply_adds)
    block = row.name.partition("/")[0] if by_block else row.name
    if found and (block == found[-1].name or not row.multiply_adds):
      last = found[-1]
      found[-1] = Bar(last.name, *(a + b for a, b in zip(last[1:], bar[1:], strict=True)))
    else:
      found.append(bar._replace(name=block))
  return found


def picture(sheet: Sheet) -> Figure:
  """Draws a training step's memory and a forward pass's multiply-adds, from input to output."""
  found = bars(sheet)
  with matplotlib.rc_context(STYLE):
    height = min(2.0 + 0.17 * len(found), 16.0)
    figure = page(8.6, height)
    left, right = figure.subplots(1, 2, sharey=True)
    _memory(left, sheet, found)
    macs = np.array([bar.multiply_adds for bar in found])
    right.barh(range(len(found)), macs, color=GREEN)
    right.set_title(f"Multiply-adds: {_engineering(sheet.multiply_adds)} an image")
    right.set_xlabel("multiply-adds of one image's forward pass")
    right.xaxis.set_major_formatter(EngFormatter(sep=" "))
    _name_rows(left, found)
    for panel in (left, right):
      panel.locator_params(axis="x", nbins=5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8)
    side = "x".join(map(str, sheet.image_shape))
    figure.suptitle(
      f"{sheet.name} on {side}: {_engineering(sheet.parameters)} parameters",
      x=0.01,
      ha="left",
      fontweight="bold",
    )
  return figure


def save_picture(sheet: Sheet, path: str | Path) -> Path:
  """Saves `picture` as .png, .svg or .pdf; ConfigError for any other suffix."""
  path = Path(path)
  if path.suffix[1:].lower() not in FORMATS:
    raise ConfigError(unknown("format of a picture", path.suffix[1:], FORMATS))
  path.parent.mkdir(parents=True, exist_ok=True)
  metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:].lower())
  with matplotlib.rc_context(STYLE):
    picture(sheet).savefig(path, dpi=144, metadata=metadata)
  return path


def _memory(axes: Axes, sheet: Sheet, found: Sequence[Bar]) -> None:
  rows = range(len(found))
  weights = np.array([bar.weights for bar in found])
  activations = np.array([bar.activations for bar in found])
  axes.barh(rows, activations, color=BLUE, label=f"activations kept, batch of {sheet.batch_size}")
  own = f"parameters, gradients, {sheet.optimizer}'s slots"
  axes.barh(rows, weights, left=activations, color=VERMILION, hatch="///", ec="white", label=own)
  axes.set_title(f"Memory in training: {_engineering(sum(sheet.memory().values()))}B")
  gradients = _engineering(sheet.memory()["activation_gradients"])
  axes.set_xlabel(
    f"bytes (hatched: weights and what belongs to them)\nnot in the bars: {gradients}B for gradients of "
    "activations"
  )
  axes.xaxis.set_major_formatter(EngFormatter(unit="B", sep=" "))


def _name_rows(axes: Axes, found: Sequence[Bar]) -> None:
  every = -(-len(found) // 60)
  axes.set_yticks(range(0, len(found), every), [bar.name for bar in found[::every]], fontsize=7.5)
  axes.set_ylim(len(found) - 0.5, -0.5)
  axes.set_ylabel("layer or block, input at the top")
  for panel in axes.figure.axes:
    panel.grid(visible=False, axis="y")


def _engineering(value: float) -> str:
  return EngFormatter(places=2, sep=" ")(value)
