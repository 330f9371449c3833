"""The one look of cnnlab's figures, for matplotlib's `rc_context`, and how they are written."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# Of Okabe and Ito, which color-blind readers can tell apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip

LETTERS_PER_INCH = 17  # of a note
WIDTH = 8.0  # of a figure that is as wide as the text of a report, in inches

STYLE: Any = {
  "font.size": 9,
  "axes.titlesize": 10,
  "axes.titleweight": "bold",
  "axes.titlelocation": "left",
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "grid.color": "#dddddd",
  "grid.linewidth": 0.6,
  "legend.frameon": False,
  "svg.fonttype": "path",
  "svg.hashsalt": "cnnlab",
}


def page(width: float, height: float) -> Figure:
  """Returns an empty figure of that size in inches, drawn without any display."""
  logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
  return Figure(figsize=(width, height), layout="constrained")


def note(figure: Figure, text: str) -> None:
  """Writes what a reader must know of a figure below it, in lines as wide as the figure."""
  lines = textwrap.wrap(text, int(LETTERS_PER_INCH * figure.get_figwidth()))
  figure.supxlabel("\n".join(lines), fontsize=7.5, color="#555555", x=0.01, ha="left")


def ticks_of_decades(axis: Axis, subs: Sequence[float] = (1, 2, 5)) -> None:
  """Labels only these parts of each decade of a logarithmic axis, so that labels do not overlap."""
  axis.set_major_locator(LogLocator(subs=subs))
  axis.set_major_formatter("{x:g}")
  axis.set_minor_formatter("")


def save(figure: Figure, folder: Path, name: str) -> Path:
  """Writes a figure as `<name>.svg` and `<name>.png`, and returns the path of the former."""
  folder.mkdir(parents=True, exist_ok=True)
  with matplotlib.rc_context(STYLE):
    # Without a date the same results give the same file.
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=144)
  return folder / f"{name}.svg"
