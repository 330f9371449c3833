"""The one look of cnnlab's figures, for matplotlib's `rc_context`."""

from __future__ import annotations

from typing import Any

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
