"""The board with a policy as a heat map."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from cnnlab.go.board import COLUMNS, name_of
from cnnlab.go.kernels import BLACK, EMPTY
from cnnlab.plot_style import BLUE

_WOOD = "#e8c98f"
_SHOWN = 0.01  # probabilities from here on are written on the board
_PIXELS, _INCHES = 100, 7.0


def draw(
  stones: np.ndarray,
  probabilities: np.ndarray,
  color: int,
  played: int | None = None,
  last: int | None = None,
) -> np.ndarray:
  """Returns a picture of a policy on the board, uint8 [700, 700, 3].

  Args:
    stones: int8 [side, side], as of `Board.stones`.
    probabilities: of each point, [side * side], row by row.
    color: whose move it is.
    played: the move of the game, row * side + column; it is framed.
    last: the opponent's last move, in the same form; it is marked by a ring.
  """
  side = len(stones)
  figure = Figure((_INCHES, _INCHES), dpi=_PIXELS, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  axes = figure.subplots()
  heat = probabilities.reshape(side, side)
  axes.set_facecolor(_WOOD)
  # The root makes small probabilities visible, beside which a forced move would hide all others.
  strength = np.sqrt(heat)
  axes.imshow(strength, cmap="Reds", vmin=0, vmax=1, alpha=strength, zorder=1)
  lines = np.arange(side)
  axes.hlines(lines, 0, side - 1, color="black", linewidth=0.5, zorder=0)
  axes.vlines(lines, 0, side - 1, color="black", linewidth=0.5, zorder=0)
  for row, column in _stars(side):
    axes.add_patch(Circle((column, row), 0.1, color="black", zorder=0))
  for row, column in np.argwhere(stones != EMPTY):
    fill = "black" if stones[row, column] == BLACK else "white"
    axes.add_patch(Circle((column, row), 0.46, facecolor=fill, edgecolor="black", zorder=2))
  if last is not None:
    ring = "white" if stones.flat[last] == BLACK else "black"
    place = last % side, last // side
    axes.add_patch(Circle(place, 0.22, fill=False, edgecolor=ring, linewidth=1.5, zorder=3))
  for row, column in np.argwhere(heat >= _SHOWN):
    axes.text(column, row, f"{heat[row, column]:.0%}"[:-1], ha="center", va="center", fontsize=8)
  if played is not None:
    corner = played % side - 0.5, played // side - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=BLUE, linewidth=2, zorder=3))
  axes.set(xlim=(-0.7, side - 0.3), ylim=(side - 0.3, -0.7), title=_title(heat, color, played))
  axes.set_xticks(lines, list(COLUMNS[:side]))
  axes.set_yticks(lines, [str(side - row) for row in lines])
  axes.tick_params(length=0)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _title(heat: np.ndarray, color: int, played: int | None) -> str:
  side, ranked = len(heat), heat.ravel()
  best = int(np.argmax(ranked))
  player = "Black" if color == BLACK else "White"
  title = f"{player} to move; policy in percent, first {name_of(best, side)}"
  if played is None:
    return title
  rank = int(np.sum(ranked > ranked[played])) + 1
  return f"{title}; played {name_of(played, side)} (blue), ranked {rank}."


def _stars(side: int) -> list[tuple[int, int]]:
  """Returns the marked points of a board of 19 lines; none of others."""
  at = (3, 9, 15) if side == 19 else ()
  return [(row, column) for row in at for column in at]
