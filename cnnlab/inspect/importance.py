"""Learned weights of the statistics in each switchable norm of a network.

Source: arXiv:1806.10779, section 3.1 (softmax weights of the statistics), figure 1.
"""

from __future__ import annotations

import matplotlib
import pandas as pd
from flax import linen as nn
from flax.typing import Collection
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.inspect.sheet import describe
from cnnlab.nn import importance_weights
from cnnlab.nn.switchable import STATISTICS
from cnnlab.plot_style import BLUE, GREEN, ORANGE, STYLE, note, page

MOMENTS = ("mean", "variance")
_LOOKS = {"instance": (GREEN, "s"), "layer": (ORANGE, "^"), "batch": (BLUE, "o")}


def importance_table(
  model: nn.Module, params: Collection, image_shape: tuple[int, int, int]
) -> pd.DataFrame:
  """Returns the importance of each norm's statistics by layer, in execution order.

  Args:
    model: a network with norm='switchable'.
    params: its parameters.
    image_shape: (height, width, channels); the network is traced with it, not run.

  Returns:
    One row per layer and moment: `depth` (0 is the first), `path`, `moment` (of `MOMENTS`), and
    the weights of instance, layer and batch statistics, which sum to 1. Empty if the network has
    no switchable norm.
  """
  weights = importance_weights(params)
  order = [row.name for row in describe(model, image_shape).rows if row.name in weights]
  rows = [
    {"depth": depth, "path": path, "moment": moment, **dict(zip(STATISTICS, share, strict=True))}
    for depth, path in enumerate(order)
    for moment, share in zip(MOMENTS, weights[path], strict=True)
  ]
  return pd.DataFrame(rows, columns=["depth", "path", "moment", *STATISTICS])


def importance_figure(table: pd.DataFrame, group: str) -> Figure:
  """Draws importance against depth: a row of panels per moment, a column per group of networks.

  Args:
    table: rows of `importance_table` of several networks with the same layers, with a column
      that names each network's group; lines are group means, bands range from lowest to highest.
    group: that column's name.
  """
  groups = list(dict.fromkeys(table[group]))
  layers = table.drop_duplicates("depth").sort_values("depth")["path"].tolist()
  with matplotlib.rc_context(STYLE):
    figure = page(2.2 + 2.6 * len(groups), 5.6)
    panels = figure.subplots(2, len(groups), sharex=True, sharey=True, squeeze=False)
    for row, moment in zip(panels, MOMENTS, strict=True):
      for axes, name in zip(row, groups, strict=True):
        _panel(axes, table[(table[group] == name) & (table["moment"] == moment)])
        axes.set_title(f"{moment}, {name}")
      row[0].set_ylabel("importance (softmax weight)")
    for axes in panels[-1]:
      axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
      axes.set_xlabel("layer, from input to output")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    figure.suptitle("Statistics that switchable norm prefers", x=0.01, ha="left", weight="bold")
    text = "Line: mean over networks. Band: lowest to highest. Dotted: a third, where all start."
    note(figure, text)
  return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
  for norm, (color, marker) in _LOOKS.items():
    across = rows.groupby("depth")[norm].agg(["mean", "min", "max"])
    axes.plot(across.index, across["mean"], color=color, marker=marker, ms=4, label=norm)
    axes.fill_between(across.index, across["min"], across["max"], color=color, alpha=0.16, lw=0)
  axes.axhline(1 / len(STATISTICS), color="#777777", lw=0.8, ls=":")
  axes.set_ylim(0, 1)
  axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator(sorted(set(rows["depth"]))))
