"""Rules, against sgfmill's board and hand-drawn positions."""

import itertools

import numpy as np
import pytest
from sgfmill import boards

from cnnlab.go import Board, Game, IllegalMove, read_games
from cnnlab.go.kernels import BLACK, WHITE
from tests.go.reference import drawn

NAMES = {BLACK: "b", WHITE: "w"}
REAL_GAMES = 12


def from_picture(picture, **options):
  position, named = drawn(picture)
  board = Board(position.side, **options)
  for (row, column), color in position.stones.items():
    board.play(row * position.side + column, color)
  return board, {name: row * position.side + column for name, (row, column) in named.items()}


def compare(board, other, color):
  """Every point of the board, and what sgfmill makes of it."""
  side = board.side
  named = [[{None: 0, "b": 1, "w": 2}[cell] for cell in row] for row in other.board]
  np.testing.assert_array_equal(board.stones, named)
  for point in range(side**2):
    row, column = divmod(point, side)
    suicide = occupied = other.get(row, column) is not None
    if not occupied:
      tried = other.copy()
      tried.play(row, column, NAMES[color])
      suicide = tried.get(row, column) is None
    reason = board.why_illegal(point, color)
    assert ("suicide" in reason or "occupied" in reason) == suicide


def random_game(side, seed, superko=False):
  """Plays legal moves at random, compared with sgfmill; many stones are captured."""
  rng = np.random.default_rng(seed)
  board, other, ko = Board(side, superko), boards.Board(side), None
  captured = 0
  for turn in range(3 * side**2):
    color = BLACK + turn % 2
    legal = board.legal(color)
    if ko is not None:
      assert not legal[ko]
    if turn % 25 == 0:
      compare(board, other, color)
    if not legal.any():
      ko = None
      board.play(None, color)
      continue
    row, column = rng.choice(np.argwhere(legal))
    captured += board.play(int(row * side + column), color)
    ko = other.play(int(row), int(column), NAMES[color])
  compare(board, other, BLACK)
  return captured


@pytest.mark.parametrize(("side", "seed"), [(5, 0), (7, 1), (9, 2)])
def test_random_games_agree_with_sgfmill(side, seed):
  assert random_game(side, seed) > side**2


def test_real_games_agree_with_sgfmill(shared):
  found = read_games(shared / "data" / "go" / "games.tsv.xz")
  for game in itertools.islice(found, REAL_GAMES):
    board, other = Board(), boards.Board(19)
    for turn, (move, color) in enumerate(
      zip(game.moves.tolist(), game.colors.tolist(), strict=True)
    ):
      if turn in (50, 150):
        compare(board, other, color)
      board.play(move, color)
      other.play(*divmod(move, 19), NAMES[color])
    compare(board, other, BLACK)


def test_a_ko_is_taken_back_after_a_move_elsewhere():
  board, at = from_picture("""
    .XO..
    X.aO.
    .XO..
    .....
    .....""")
  board.play(at["a"], BLACK)
  assert board.play(at["a"] - 1, WHITE) == 1  # takes the stone at a
  assert board.why_illegal(at["a"], BLACK) == "a ko"
  with pytest.raises(IllegalMove, match="^Black C4: a ko$"):
    board.play(at["a"], BLACK)
  board.play(24, BLACK)
  board.play(23, WHITE)
  assert board.play(at["a"], BLACK) == 1


def test_two_stones_may_be_taken_back_at_once():
  board, at = from_picture("""
    aXO.
    XXO.
    OO..
    ....""")
  assert board.why_illegal(at["a"], BLACK) == "a suicide"
  assert board.play(at["a"], WHITE) == 3
  assert board.legal(BLACK)[0, 1]


def test_sending_two_and_returning_one_is_forbidden_by_superko_alone():
  picture = """
    ab.O
    XXOO
    ....
    ...."""
  # To the stone at b White adds one at a. Black takes both with one stone, which White takes at b.
  for superko in (False, True):
    board, at = from_picture(picture, superko=superko)
    board.play(at["b"], WHITE)
    board.play(None, BLACK)
    board.play(at["a"], WHITE)
    assert board.play(at["b"] + 1, BLACK) == 2
    assert ("superko" in board.why_illegal(at["b"], WHITE)) == superko


def test_handicap_stones_are_as_old_as_can_be_and_passes_count_as_turns():
  moves = np.array([72, 300, 361, 40], np.int16)
  game = Game("g", moves, np.array([1, 2, 1, 2], np.int8), setup=1)
  bits = np.unpackbits(game.replay(4).planes(BLACK), axis=-1, bitorder="little").reshape(361, 48)
  assert [int(np.flatnonzero(bits[p, 4:12])[0]) + 1 for p in (72, 300, 40)] == [8, 3, 1]
