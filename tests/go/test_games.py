"""Files of games: tables and SGF, whole and broken."""

import lzma

import numpy as np
import pytest

from cnnlab.go import PASS, Game, read_games
from cnnlab.go.games import join

HEADER = b"(;GM[1]FF[4]SZ[19]"


def read(tmp_path, content, name="game.sgf"):
  path = tmp_path / name
  path.write_bytes(content)
  return list(read_games(path))


def test_the_main_line_of_an_sgf_file_with_handicap_and_passes(tmp_path):
  text = HEADER + b"HA[2]AB[dd][pp];W[qd];B[](;W[as]C[main line])(;W[sa];B[bb]))"
  (game,) = read(tmp_path, text)
  assert game.setup == 2
  assert sorted(game.moves[:2].tolist()) == [3 * 19 + 3, 15 * 19 + 15]
  assert game.moves[2:].tolist() == [3 * 19 + 16, PASS, 18 * 19]
  assert game.colors.tolist() == [1, 1, 2, 1, 2]


def test_positions_leave_out_passes_and_stones_placed_before_the_game(tmp_path):
  (game,) = read(tmp_path, HEADER + b"AB[dd][pp];W[qd];B[tt];W[dp])")
  games = join([game])
  positions = games.positions(game.split)
  assert positions.tolist() == [2, 4]
  assert games.numbers(positions).tolist() == [1, 3]


def test_every_game_of_a_collection_is_read(tmp_path):
  found = read(tmp_path, HEADER + b";B[aa])" + HEADER + b";B[bb])")
  assert [game.name for game in found] == ["game.sgf game 1", "game.sgf game 2"]


@pytest.mark.parametrize(
  ("content", "told"),
  [
    (b"not a game", "no SGF"),
    (HEADER + b";B[dd", "no SGF"),
    (b"", "no SGF"),
    (b"(;SZ[9];B[dd])", "a board of 9x9"),
    (HEADER + b";B[zz])", "game.sgf: "),
    (HEADER + b";B[dd];W[dd])", "move 2, White D16: the point is occupied"),
    (HEADER + b";B[dd];AB[aa];W[cc])", "setup"),
  ],
)
def test_a_broken_sgf_file_is_named(tmp_path, content, told):
  (broken,) = read(tmp_path, content)
  assert str(broken).startswith("game.sgf")
  assert told in str(broken)


def test_a_table_with_broken_lines(tmp_path):
  lines = [
    "1\t2003\t6.5\tB+0.5\tqddd..pp",
    "2\t2003\tqddd",
    "3\t2003\t6.5\tB+0.5\tqdd",
    "4\t2003\t6.5\tB+0.5\tqdt!",
    "5\t2003\t6.5\tB+0.5\tqdqd",
  ]
  whole, *broken = read(tmp_path, lzma.compress("\n".join(lines).encode()), "games.tsv.xz")
  assert whole == Game("1", pytest.approx([73, 60, PASS, 300]), pytest.approx([1, 2, 1, 2]))
  assert [str(one).partition(": ")[::2] for one in broken] == [
    ("games.tsv.xz line 2", "3 columns; a game has 5: id, date, komi, result, moves"),
    ("games.tsv.xz line 3", "an odd number of letters: moves have two each"),
    ("games.tsv.xz line 4", "move 2 is 't!'; allowed: aa to ss, or .."),
    ("games.tsv.xz line 5", "move 2, White R16: the point is occupied"),
  ]


@pytest.mark.parametrize("content", [b"no archive", lzma.compress(b"1\t" * 99)[:-20]])
def test_a_damaged_archive_is_named(tmp_path, content):
  (broken,) = read(tmp_path, content, "games.tsv.xz")
  assert broken.name == "games.tsv.xz"


def test_repeated_games_are_read_once_and_splits_follow_from_the_name():
  moves, colors = np.array([1, 2], np.int16), np.array([1, 2], np.int8)
  games = join(
    [Game("a", moves, colors), Game("b", moves, colors), Game("c", moves[:1], colors[:1])]
  )
  assert games.starts.tolist() == [0, 2, 3]
  splits = [Game(str(i), moves, colors).split for i in range(1000)]
  assert 30 < splits.count("test") < 70
  assert 30 < splits.count("validation") < 70
  # sha256 of these ids, modulo 100, is 3, 9, 1 and 15.
  assert [Game(name, moves, colors).split for name in ("6", "53", "83", "1")] == [
    "test", "validation", "test", "train",
  ]  # fmt: skip
