"""How each variant and each verdict is drawn, the same in every figure of a report.

Colors are those of Okabe and Ito, which color-blind readers can distinguish. With more than eight
variants, line styles and markers differ as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from cnnlab.plot_style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

OKABE_ITO = (
  BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, "#9A8A00",
)  # fmt: skip
GRAY = "#6b6b6b"
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


class Look(NamedTuple):
  """How a variant or a verdict is drawn."""

  color: str
  line: str
  marker: str


VERDICTS = {
  "holds": Look(GREEN, "-", "o"),
  "fails": Look(VERMILION, "-", "s"),
  "inconclusive": Look(BLUE, "-", "D"),
  "not tested": Look(GRAY, ":", "x"),
}


def looks(labels: Sequence[str]) -> dict[str, Look]:
  """Returns {label: how the variant is drawn}."""
  many = len(OKABE_ITO)
  return {
    label: Look(OKABE_ITO[i % many], _LINES[i // many % 4], _MARKERS[(i + i // many) % 8])
    for i, label in enumerate(labels)
  }


def draw_interval(
  axes: Axes,
  row: float,
  mean: float,
  ends: tuple[float, float],
  look: Look,
  named: bool = True,
) -> None:
  """Draws a mean with its interval in a row of a plot; what the axis does not reach gets an arrow.

  Args:
    axes: with its final limits along x.
    row: position along y.
    mean: NaN draws nothing.
    ends: of the interval; NaN for none.
    look: color and marker.
    named: whether an arrow gets the value beside it.
  """
  if not math.isfinite(mean):
    return
  left, right = axes.get_xlim()
  if not left <= mean <= right:
    _arrow(axes, row, mean, look, named)
    return
  low, high = ends
  if math.isfinite(low) and math.isfinite(high):
    shown = np.clip([low, high], left, right)
    axes.plot(shown, [row, row], color=look.color, lw=2, solid_capstyle="butt", zorder=2.5)
    for end, edge, tip in ((low, left, "<"), (high, right, ">")):
      if (end < left) if tip == "<" else (end > right):
        axes.plot(edge, row, tip, color=look.color, ms=7, clip_on=False, zorder=3)
      else:
        axes.plot([end, end], [row - 0.1, row + 0.1], color=look.color, lw=2, zorder=2.5)
  axes.plot(mean, row, look.marker, ms=7, color=look.color, mew=2 if look.marker == "x" else 0,
            zorder=3)  # fmt: skip


def _arrow(axes: Axes, row: float, mean: float, look: Look, named: bool) -> None:
  """Draws an arrow at the edge beyond which a mean lies, with its value."""
  left, right = axes.get_xlim()
  below = mean < left
  edge, tip, inward = (left, "<", 1) if below else (right, ">", -1)
  figure = axes.get_figure(root=True)
  inside = offset_copy(axes.transData, figure, x=7 * inward, y=0, units="points")
  axes.plot(edge, row, tip, color=look.color, ms=9, zorder=3, transform=inside)
  if named:
    axes.annotate(
      f"{mean:.4g}".replace("-", "−"), (edge, row), (16 * inward, 0), fontsize=8, va="center",
      textcoords="offset points", ha="left" if below else "right", color=look.color,
    )  # fmt: skip


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
  """Names the rows of a plot from top to bottom."""
  axes.set_yticks(range(len(labels)), labels)
  axes.set_ylim(len(labels) - 0.5, -0.5)
  axes.grid(visible=False, axis="y")


def legend_beside(figure: Figure, axes: Axes) -> None:
  """Puts the legend of some axes at the right edge of the figure, if anything has a label."""
  handles, names = axes.get_legend_handles_labels()
  if names:
    small = 6.5 if len(names) > 12 else 8
    figure.legend(handles, names, loc="outside right upper", fontsize=small)
