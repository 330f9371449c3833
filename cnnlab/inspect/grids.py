"""Pictures of what a network computes: filters and activations as grids, rows of images and maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from flax import traverse_util
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlab.errors import ConfigError, unknown
from cnnlab.inspect.network import AnyNetwork
from cnnlab.inspect.sheet import describe
from cnnlab.plot_style import BLUE, ORANGE, STYLE, VERMILION, WIDTH, note, page

MOST = 64  # tiles of a grid
_PER_ROW = 8
_SCALES = (
  "Each map has its own scale: from 0 (black) to the value above it (yellow), or from minus that "
  "value (blue, or dark) over 0 (white, or gray) to plus that value (red, or bright)."
)
_TITLES = {
  "guided_backpropagation": "guided backpropagation",
  "integrated_gradients": "integrated gradients",
  "grad_cam": "Grad-CAM",
}


class Tiles(NamedTuple):
  """Small images of one layer, sorted.

  Attributes:
    layer: its name.
    images: float32 [tiles, height, width], or [tiles, height, width, 3] for colors.
    table: one row for each tile, in their order; its first column is their number in the layer.
  """

  layer: str
  images: np.ndarray
  table: pd.DataFrame


def filters(
  network: AnyNetwork, image_shape: tuple[int, int, int], layer: str | None = None
) -> Tiles:
  """Returns the filters of a convolution that sees gray or color images, the largest norm first.

  Args:
    network: a run, or a `Network`.
    image_shape: (height, width, channels) of an input; the network is traced with it, not run.
    layer: its path, such as `conv1`; by default the first.

  Raises:
    ConfigError: there is no such convolution.
  """
  kernels = {
    path.removesuffix("/kernel"): np.asarray(array, np.float32)
    for path, array in traverse_util.flatten_dict(network.variables["params"], sep="/").items()
    if path.endswith("/kernel") and array.ndim == 4 and array.shape[2] in (1, 3)
  }
  order = [row.name for row in describe(network.model, image_shape).rows if row.name in kernels]
  if not order:
    raise ConfigError(
      "the network has no convolution of gray or color images, whose filters are pictures"
    )
  if layer is not None and layer not in kernels:
    raise ConfigError(unknown("convolution of gray or color images", layer, order))
  name = layer or order[0]
  each = np.moveaxis(kernels[name], -1, 0)
  norm = np.sqrt((each**2).sum((1, 2, 3)))
  rank = np.argsort(-norm, kind="stable")
  table = pd.DataFrame({"filter": rank, "norm": norm[rank]})
  table["minimum"], table["maximum"] = (f(each[rank], axis=(1, 2, 3)) for f in (np.min, np.max))
  return Tiles(name, each[rank] if each.shape[-1] == 3 else each[rank][..., 0], table)


def activations(stage: str, image_map: np.ndarray) -> Tiles:
  """Returns the channels of a map, the largest mean first.

  Args:
    stage: its name.
    image_map: of one image, [height, width, channels].
  """
  each = np.moveaxis(np.asarray(image_map, np.float32), -1, 0)
  mean = each.mean((1, 2))
  rank = np.argsort(-mean, kind="stable")
  table = pd.DataFrame({"channel": rank, "mean": mean[rank]})
  table["minimum"], table["maximum"] = (f(each[rank], axis=(1, 2)) for f in (np.min, np.max))
  return Tiles(stage, each[rank], table)


def tiles_figure(tiles: Tiles, title: str) -> Figure:
  """Draws the first `MOST` tiles on one scale, each below its number in the layer.

  Values that are never negative are drawn from black to yellow, others from blue over white to red,
  colors about gray.
  """
  images, numbers = tiles.images[:MOST], tiles.table.iloc[:MOST, 0]
  most = float(np.abs(images).max()) or 1.0
  columns = min(_PER_ROW, len(images))
  rows = math.ceil(len(images) / columns)
  side = (WIDTH - 1.0) / _PER_ROW
  ratio = images.shape[1] / images.shape[2]
  with matplotlib.rc_context(STYLE):
    figure = page(max(columns * side + 1.0, 4.0), rows * (side * ratio + 0.18) + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
      axes.set_axis_off()
    for axes, image, number in zip(grid.flat, images, numbers, strict=False):
      if image.ndim == 3:
        axes.imshow(0.5 + image / (2 * most), interpolation="nearest")
      elif images.min() < 0:
        drawn = axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
      else:
        drawn = axes.imshow(image, cmap="inferno", vmin=0, vmax=most, interpolation="nearest")
      axes.set_title(str(number), fontsize=7, fontweight="normal", loc="center", pad=2)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    kind, by = tiles.table.columns[:2]
    text = f"The number of the {kind} stands above it; the largest {by} comes first."
    if len(tiles.images) > MOST:
      text += f" {MOST} of {len(tiles.images)} are shown."
    if images.ndim == 4:
      text += f" Gray is 0; the largest weight is {most:.3g} in size."
    else:
      figure.colorbar(drawn, ax=grid, shrink=0.6, aspect=30)
    note(figure, text)
  return figure


class Tile(NamedTuple):
  """A picture of a figure, with what stands above it.

  Attributes:
    image: uint8 [height, width, 1 or 3], drawn as it is; or float [height, width], drawn from black to
      yellow, or from blue over white to red where there are both signs; or float [height, width,
      channels], drawn in color about gray.
    caption: short lines; `{scale}` stands for the scale of floats.
    box: top, left, bottom and right of a part that is outlined, in pixels.
    most: draws floats from blue to red, from minus to plus this; by default their own largest size.
  """

  image: np.ndarray
  caption: str = ""
  box: tuple[float, float, float, float] | None = None
  most: float | None = None


def rows_figure(
  rows: Sequence[Sequence[Tile]], title: str, text: str, side: float = 1.25
) -> Figure:
  """Draws rows of pictures.

  Args:
    rows: of pictures; those of a row are equally high.
    title: above the figure.
    text: below it.
    side: width of a picture in inches.
  """
  columns = max(map(len, rows))
  shapes = [row[0].image.shape for row in rows]
  lines = [max((tile.caption.count("\n") + 1) * bool(tile.caption) for tile in row) for row in rows]
  heights = [side * h / w + 0.14 * n + 0.05 for (h, w, *_), n in zip(shapes, lines, strict=True)]
  with matplotlib.rc_context(STYLE):
    figure = page(max(columns * (side + 0.06), 4.0), sum(heights) + 0.75)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes in grid.flat:
      axes.set_axis_off()
    for axes_of_row, row in zip(grid, rows, strict=True):
      for axes, tile in zip(axes_of_row, row, strict=False):
        scale = _draw(axes, tile)
        caption = tile.caption.replace("{scale}", scale)
        axes.set_title(caption, fontsize=7, fontweight="normal", loc="center", pad=3)
        if tile.box is not None:
          top, left, bottom, right = tile.box
          axes.add_patch(
            Rectangle(
              (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=ORANGE, lw=1.0
            )
          )
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    note(figure, text)
  return figure


def _draw(axes: Axes, tile: Tile) -> str:
  """Draws a picture; returns its scale."""
  values = tile.image
  if values.dtype == np.uint8:
    shown = values[:, :, 0] if values.shape[-1] == 1 else values
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return ""
  most = tile.most or float(np.abs(values).max()) or 1.0
  if values.ndim == 3:
    shown = np.squeeze(np.clip(0.5 + values / (2 * most), 0, 1))
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return f"±{most:.2g}"
  if values.min() < 0 or tile.most:
    axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    return f"±{most:.2g}"
  axes.imshow(values, cmap="inferno", vmin=0, vmax=most, interpolation="nearest")
  return f"0 to {most:.2g}"


def attribution_figure(
  images: np.ndarray, captions: Sequence[str], found: Mapping[str, np.ndarray]
) -> Figure:
  """Draws a row for each image: the image, and its attribution by each method.

  Each map has its own scale, which stands above it.

  Args:
    images: uint8 [images, height, width, 1 or 3], as the network sees them.
    captions: one for each image; short lines.
    found: {method: [images, height, width] or [images, height, width, channels]}, see `Tile`.
  """
  rows = [
    [
      Tile(images[row], captions[row]),
      *[
        Tile(maps[row], f"{_TITLES.get(method, method)}\n{{scale}}")
        for method, maps in found.items()
      ],
    ]
    for row in range(len(images))
  ]
  return rows_figure(rows, "What the predicted class rests on", _SCALES)


def attack_figure(table: pd.DataFrame) -> Figure:
  """Draws accuracy over epsilon, a line for each attack; `table` is `accuracy_under_attack`'s."""
  with matplotlib.rc_context(STYLE):
    figure = page(5.0, 3.4)
    axes = figure.subplots()
    looks = ((BLUE, "o", "-"), (VERMILION, "s", "--"))
    for (attack, rows), (color, marker, line) in zip(table.groupby("attack"), looks, strict=False):
      axes.plot(
        rows["epsilon"], 100 * rows["accuracy"], color=color, marker=marker, ls=line,
        label=str(attack).upper(),
      )  # fmt: skip
    axes.set_ylim(0, 102)
    axes.set_xlabel("epsilon (levels of 0 to 255)")
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy under attack")
    axes.legend()
    note(figure, f"{table['examples'].iloc[0]} images of the evaluation split; L-infinity bound.")
  return figure
