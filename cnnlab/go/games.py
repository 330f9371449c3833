"""Files of games: SGF, and tables of one game a line.

A line of a table (`.tsv`, `.tsv.xz`) holds id, date, komi, result and moves. A move is two letters as
in SGF, column and row from the top left, `..` a pass; Black begins, and colors alternate. Of an SGF
file the main line of each game is read. Boards are 19x19.
"""

from __future__ import annotations

import dataclasses
import hashlib
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnlab.go import kernels
from cnnlab.go.board import Board, IllegalMove

SIDE = 19
PASS = SIDE * SIDE
SPLITS = ("train", "validation", "test")
TABLES = (".tsv", ".tsv.xz")
SUFFIXES = (".sgf", *TABLES)

_COLUMNS = 5
_COLORS = {"b": kernels.BLACK, "w": kernels.WHITE}


class Game(NamedTuple):
  """One game that was played by the rules.

  Attributes:
    name: its id, or its file.
    moves: int16 [n], row * 19 + column from the top left, or `PASS`. Stones that were placed before
      the game, such as a handicap, come first.
    colors: int8 [n], 1 for Black, 2 for White.
    setup: number of stones placed before the game.
  """

  name: str
  moves: np.ndarray
  colors: np.ndarray
  setup: int = 0

  @property
  def split(self) -> str:
    """The split to which it belongs, which follows from the name alone."""
    part = int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 100
    return "test" if part < 5 else "validation" if part < 10 else "train"

  def replay(self, count: int) -> Board:
    """Returns the board after the first `count` entries of `moves`.

    Raises:
      IllegalMove: the rules forbid one of them.
    """
    board = Board(SIDE)
    for number, (move, color) in enumerate(zip(self.moves[:count], self.colors, strict=False)):
      point = None if move == PASS else int(move)
      board.play(point, int(color), placed=number < self.setup)
    return board


class Broken(NamedTuple):
  """A game that cannot be read: which one, and why."""

  name: str
  reason: str

  def __str__(self) -> str:
    return f"{self.name}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Games:
  """Many games, one after the other.

  Attributes:
    moves, colors: of all games, as in `Game`.
    starts: int64 [games + 1], where the moves of each game begin, and the end of the last.
    setups: int64 [games], stones placed before each game.
    splits: uint8 [games], the place in `SPLITS` of each game's split.
  """

  moves: np.ndarray
  colors: np.ndarray
  starts: np.ndarray
  setups: np.ndarray
  splits: np.ndarray

  def __len__(self) -> int:
    return len(self.setups)

  def positions(self, split: str) -> np.ndarray:
    """Returns the indices of a split's moves but for passes, int32, ascending."""
    game = np.repeat(np.arange(len(self)), np.diff(self.starts))
    played = np.arange(len(self.moves)) >= (self.starts[:-1] + self.setups)[game]
    own = (self.splits == SPLITS.index(split))[game]
    return np.flatnonzero(played & own & (self.moves != PASS)).astype(np.int32)

  def game_of(self, positions: np.ndarray) -> np.ndarray:
    """Returns the index of the game that each move belongs to, int64 [n]."""
    return np.searchsorted(self.starts, positions, side="right") - 1

  def numbers(self, positions: np.ndarray) -> np.ndarray:
    """Returns the number of each move in its game, from 1, without the stones placed before."""
    game = self.game_of(positions)
    return (positions - self.starts[game] - self.setups[game] + 1).astype(np.int32)

  def planes(self, positions: np.ndarray) -> np.ndarray:
    """Returns the packed planes of the positions before moves, uint8 [n, 19, 19, 6]."""
    order = np.argsort(positions, kind="stable")
    planes = np.zeros((len(positions), SIDE, SIDE, kernels.PLANES // 8), np.uint8)
    games = (self.moves, self.colors, self.starts, self.setups)
    kernels.encode_positions(games, np.asarray(positions)[order], SIDE, planes)
    return planes[np.argsort(order)]


def join(games: Iterable[Game]) -> Games:
  """Returns games one after the other, without those whose moves are those of an earlier one."""
  first: dict[tuple[int, bytes, bytes], Game] = {}
  for game in games:
    first.setdefault((game.setup, game.colors.tobytes(), game.moves.tobytes()), game)
  kept = list(first.values())
  return Games(
    moves=np.concatenate([np.zeros(0, np.int16), *(game.moves for game in kept)]),
    colors=np.concatenate([np.zeros(0, np.int8), *(game.colors for game in kept)]),
    starts=np.cumsum([0, *(len(game.moves) for game in kept)]),
    setups=np.array([game.setup for game in kept], np.int64),
    splits=np.array([SPLITS.index(game.split) for game in kept], np.uint8),
  )


def read_games(path: Path, name: str = "") -> Iterator[Game | Broken]:
  """Yields the games of an SGF file or a table; `name` is what they are called, default the path's."""
  name = name or path.name
  try:
    if path.name.lower().endswith(".sgf"):
      yield from _sgf(path.read_bytes(), name)
    else:
      yield from _table(path, name)
  # EOFError, LZMAError: a damaged archive. UnicodeDecodeError: not a text.
  except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
    yield Broken(name, (error.strerror if isinstance(error, OSError) else None) or str(error))


def _table(path: Path, name: str) -> Iterator[Game | Broken]:
  opened = lzma.open if path.name.lower().endswith(".xz") else open
  with opened(path, "rt", encoding="utf-8") as lines:
    for number, line in enumerate(lines, 1):
      where = f"{name} line {number}"
      cells = line.rstrip("\r\n").split("\t")
      if len(cells) != _COLUMNS:
        yield Broken(
          where, f"{len(cells)} columns; a game has {_COLUMNS}: id, date, komi, result, moves"
        )
        continue
      letters = np.frombuffer(cells[-1].encode("latin-1", "replace"), np.uint8).astype(np.int16)
      if len(letters) % 2:
        yield Broken(where, "an odd number of letters: moves have two each")
        continue
      column, row = (letters.reshape(-1, 2) - ord("a")).T
      passed = (letters.reshape(-1, 2) == ord(".")).all(1)
      inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
      if not (inside | passed).all():
        wrong = int(np.argmin(inside | passed))
        yield Broken(
          where,
          f"move {wrong + 1} is {cells[-1][2 * wrong : 2 * wrong + 2]!r}; allowed: aa to ss, or ..",
        )
        continue
      moves = np.where(passed, PASS, row * SIDE + column).astype(np.int16)
      colors = (np.arange(len(moves)) % 2 + kernels.BLACK).astype(np.int8)
      yield _checked(Game(cells[0], moves, colors), where)


def _sgf(content: bytes, name: str) -> Iterator[Game | Broken]:
  from sgfmill import sgf, sgf_grammar, sgf_moves

  try:
    trees = sgf_grammar.parse_sgf_collection(content)
  except ValueError as error:
    yield Broken(name, f"no SGF: {error}")
    return
  for number, tree in enumerate(trees, 1):
    own = name if len(trees) == 1 else f"{name} game {number}"
    try:
      game = sgf.Sgf_game.from_coarse_game_tree(tree)
      side = game.get_size()
      if side != SIDE:
        yield Broken(own, f"a board of {side}x{side}; only {SIDE}x{SIDE} is read")
        continue
      board, plays = sgf_moves.get_setup_and_moves(game)
    # sgfmill raises ValueError for what it cannot read; broken texts may lead to others.
    except (ValueError, KeyError, IndexError) as error:
      yield Broken(own, str(error) or type(error).__name__)
      continue
    placed = board.list_occupied_points()
    moves = [PASS if at is None else (SIDE - 1 - at[0]) * SIDE + at[1] for _, at in placed + plays]
    colors = [_COLORS[color] for color, _ in placed + plays]
    yield _checked(
      Game(own, np.array(moves, np.int16), np.array(colors, np.int8), len(placed)), own
    )


def _checked(game: Game, where: str) -> Game | Broken:
  wrong = kernels.first_illegal(game.moves, game.colors, SIDE)
  if wrong < 0:
    return game
  try:
    game.replay(wrong + 1)
  except IllegalMove as error:
    return Broken(where, f"move {wrong - game.setup + 1}, {error}")
  raise AssertionError(f"{where}: the board allows move {wrong}, which its kernel forbids")
