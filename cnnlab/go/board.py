"""A board on which Go is played by the rules.

Suicide is not allowed, and a single stone may not be recaptured at once (ko). With `superko`, no
position may come back at all, whoever is to move (positional superko).
"""

from __future__ import annotations

import numpy as np

from cnnlab.errors import CnnlabError
from cnnlab.go import kernels
from cnnlab.go.kernels import BLACK, EMPTY, WHITE

_PLAYERS = {BLACK: "Black", WHITE: "White"}
COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"


class IllegalMove(CnnlabError):
  """A move that the rules forbid; the message says why."""


def name_of(point: int, side: int) -> str:
  """Returns a point as players call it, such as 'Q16': columns from the left, rows from below."""
  return f"{COLUMNS[point % side]}{side - point // side}"


class Board:
  """A position, and what of the game before it the rules depend on.

  Points are row * side + column from the top left; colors are `BLACK` and `WHITE`.

  Args:
    side: number of lines.
    superko: whether positional superko holds, beside the simple ko.
  """

  def __init__(self, side: int = 19, superko: bool = False):
    self.side = side
    self.superko = superko
    self._board = kernels.empty_board(side)
    self._born = np.zeros(len(self._board), np.int64)
    self._ko = 0
    self._turn = 0
    self._work = kernels.make_work(side + 2)
    self._seen = {self._board.tobytes()}

  @property
  def stones(self) -> np.ndarray:
    """The position, int8 [side, side]: `EMPTY`, `BLACK` or `WHITE`."""
    return self._board.reshape(self.side + 2, -1)[1:-1, 1:-1].copy()

  def play(self, point: int | None, color: int, *, placed: bool = False) -> int:
    """Plays a move; returns the number of captured stones.

    Args:
      point: where, or None for a pass.
      color: of the player.
      placed: it is a stone that was placed before the game, such as a handicap: as old as can be.

    Raises:
      IllegalMove: the rules forbid it.
    """
    captured, ko = 0, 0
    if point is not None:
      reason = self.why_illegal(point, color)
      if reason:
        raise IllegalMove(f"{_PLAYERS[color]} {self._name(point)}: {reason}")
      at = kernels.to_point(point, self.side)
      captured, ko = kernels.play(self._board, at, color, self._work)
      self._born[at] = -kernels.LONG_AGO if placed else self._turn
      self._seen.add(self._board.tobytes())
    self._ko = ko
    self._turn += 1
    return captured

  def why_illegal(self, point: int, color: int) -> str:
    """Returns what forbids a move, '' if nothing does."""
    if not 0 <= point < self.side**2:
      return "not on the board"
    at = kernels.to_point(point, self.side)
    if self._board[at] != EMPTY:
      return "the point is occupied"
    if at == self._ko:
      return "a ko"
    if not kernels.is_legal(self._board, at, color, 0, self._work):
      return "a suicide"
    if self.superko:
      after = self._board.copy()
      # Without a capture there are more stones than ever before.
      if kernels.play(after, at, color, self._work)[0] and after.tobytes() in self._seen:
        return "the position was there before (superko)"
    return ""

  def legal(self, color: int) -> np.ndarray:
    """Returns where a color may play, bool [side, side]."""
    allowed = [not self.why_illegal(point, color) for point in range(self.side**2)]
    return np.array(allowed).reshape(self.side, self.side)

  def planes(self, color: int) -> np.ndarray:
    """Returns the packed planes of the position with `color` to move, uint8 [side, side, 6]."""
    planes = np.zeros((self.side, self.side, kernels.PLANES // 8), np.uint8)
    ladders = kernels.make_ladders(self.side + 2)
    kernels.encode(
      self._board, self._born, self._turn, color, self._ko, planes, self._work, ladders
    )
    return planes

  def _name(self, point: int) -> str:
    return name_of(point, self.side) if 0 <= point < self.side**2 else str(point)
