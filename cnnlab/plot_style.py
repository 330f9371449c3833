"""The one look of cnnlab's figures, for matplotlib's `rc_context`, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

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


def save(figure: Figure, folder: Path, name: str) -> Path:
  """Writes a figure as `<name>.svg` and `<name>.png`, and returns the path of the former."""
  folder.mkdir(parents=True, exist_ok=True)
  with matplotlib.rc_context(STYLE):
    # Without a date the same results give the same file.
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=144)
  return folder / f"{name}.svg"
