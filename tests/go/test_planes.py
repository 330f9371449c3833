"""The 48 planes, against a slow reference on whole games, and on positions drawn by hand."""

import itertools

import numpy as np
import pytest

from cnnlab.go import Board, Game, kernels, read_games
from cnnlab.go.games import SIDE, join
from cnnlab.go.kernels import BLACK, WHITE
from tests.go import reference
from tests.go.reference import drawn

REAL_GAMES, EVERY = 3, 15


def unpacked(planes):
  """{plane: points} of packed planes [side, side, 6]."""
  bits = np.unpackbits(planes, axis=-1, bitorder="little")
  found = {}
  for row, column, plane in np.argwhere(bits).tolist():
    found.setdefault(plane, set()).add((row, column))
  return found


def from_picture(picture):
  position, named = drawn(picture)
  board = Board(position.side)
  for (row, column), color in position.stones.items():
    board.play(row * position.side + column, color, placed=True)
  return board, position, named


def assert_same(planes, expected):
  for plane in range(kernels.PLANES):
    assert planes.get(plane, set()) == expected.get(plane, set()), f"plane {plane}"


def random_game(side, seed):
  """Moves that are legal at random, with fights: next to the last move where that is possible."""
  rng = np.random.default_rng(seed)
  board, position = Board(side), reference.Position(side)
  last = None
  for turn in range(2 * side**2):
    color = BLACK + turn % 2
    legal = [p for p in position.points() if position.after(p, color)]
    close = [p for p in legal if last and abs(p[0] - last[0]) + abs(p[1] - last[1]) <= 2]
    if not legal:
      return
    last = (close or legal)[rng.integers(len(close or legal))]
    yield board, position, color
    position = position.after(last, color)[0]
    board.play(last[0] * side + last[1], color)


@pytest.mark.parametrize("side", [5, 7, 9])
def test_random_fights_agree_with_the_reference(side):
  seen = set()
  for board, position, color in itertools.islice(random_game(side, side), 0, None, 2):
    expected = reference.planes(position, color)
    assert_same(unpacked(board.planes(color)), expected)
    seen |= set(expected)
  assert {kernels.CAPTURE, kernels.SELF_ATARI, kernels.LADDER_CAPTURE} < seen


def test_real_games_agree_with_the_reference(shared):
  games = join(itertools.islice(read_games(shared / "data" / "go" / "games.tsv.xz"), REAL_GAMES))
  seen = set()
  for start, end in itertools.pairwise(games.starts.tolist()):
    wanted = np.arange(start + 3, end, EVERY)
    packed = dict(zip(wanted.tolist(), games.planes(wanted), strict=True))
    position = reference.Position(SIDE)
    for at in range(start, end):
      color = int(games.colors[at])
      if at in packed:
        expected = reference.planes(position, color)
        assert_same(unpacked(packed[at]), expected)
        seen |= set(expected)
      position = position.after(divmod(int(games.moves[at]), SIDE), color)[0]
  # All planes but zeros and captures of three to seven stones occur.
  assert {*range(22), 28, *range(36, 47)} <= seen


def test_positions_in_any_order_are_those_of_the_board():
  rng = np.random.default_rng(0)
  found = []
  for name in "ab":
    moves = [p[0] * SIDE + p[1] for p in rng.permutation(reference.Position(SIDE).points())[:40]]
    colors = np.arange(40) % 2 + 1
    found.append(Game(name, np.array(moves, np.int16), colors.astype(np.int8), setup=2))
  games, wanted = join(found), np.array([71, 5, 40, 39, 5])
  expected = [found[i // 40].replay(i % 40).planes(int(games.colors[i])) for i in wanted]
  np.testing.assert_array_equal(games.planes(wanted), expected)
  assert games.numbers(wanted).tolist() == [30, 4, -1, 38, 4]


# X attacks, O defends; letters are points that the tests name.
LADDER = """
  .........
  .........
  .........
  ....X....
  ...XOac..
  ...Xb....
  .........
  .......d.
  ........."""
AT_THE_EDGE = """
  .........
  .........
  .........
  .........
  .........
  .........
  .........
  ....a....
  ...XOb..."""
DOUBLE_ATARI = """
  .........
  .........
  .........
  ....XO...
  ...XOa...
  ...Xb....
  .........
  .........
  ........."""


def planes_of(picture, color, plane):
  """The points of a plane, by their letters in the picture; other planes agree with the reference."""
  board, position, named = from_picture(picture)
  found = unpacked(board.planes(color))
  assert_same(found, reference.planes(position, color))
  letters = {point: letter for letter, point in named.items()}
  return {letters.get(point, point) for point in found.get(plane, set())}


def captures(picture):
  return planes_of(picture, BLACK, kernels.LADDER_CAPTURE)


def escapes(picture):
  return planes_of(picture, WHITE, kernels.LADDER_ESCAPE)


def test_a_ladder_captures_from_one_side():
  assert captures(LADDER) == {"a"}


def test_it_captures_along_the_edge():
  assert captures(AT_THE_EDGE) == {"a"}
  assert captures(AT_THE_EDGE.replace("....a....", "....a..O.")) == set()


def test_a_stone_of_the_defender_on_the_way_breaks_it():
  assert captures(LADDER.replace("d", "O")) == set()


def test_a_stone_of_the_attacker_on_the_way_does_not():
  assert captures(LADDER.replace("d", "X")) == {"a"}


def test_an_escape_that_puts_the_attacker_in_atari_breaks_it():
  assert captures(DOUBLE_ATARI) == set()


def test_running_is_no_escape_from_a_ladder_that_works():
  begun = LADDER.replace("a", "X")
  assert escapes(begun) == set()
  assert escapes(begun.replace("d", "O")) == {"b"}


def test_capturing_an_attacker_is_an_escape():
  begun = LADDER.replace("a", "X").replace("c", "O").replace("....X....", "....XO...")
  assert (5, 5) in escapes(begun)


def test_it_is_not_sensible_to_fill_an_eye():
  picture = """
    aX.....
    XO.....
    .OOXd..
    ..XbX..
    ...X...
    ......X
    .....Xc"""
  assert {"b", "c"} == set("abcd") - planes_of(picture, BLACK, kernels.SENSIBLE)
  # With a second of its corners, what was an eye is none.
  assert "b" in planes_of(picture.replace("d", "O"), BLACK, kernels.SENSIBLE)
