"""The picture shows what it is given."""

import numpy as np

from cnnlab.go import Board
from cnnlab.go.kernels import BLACK, WHITE
from cnnlab.go.picture import draw


def test_a_probable_move_is_redder_than_the_others_and_the_played_one_is_framed():
  board = Board()
  board.play(3 * 19 + 3, BLACK)
  probabilities = np.full(361, 0.1 / 360)
  probabilities[15 * 19 + 15] = 0.9
  plain = draw(board.stones, probabilities, WHITE)
  framed = draw(board.stones, probabilities, WHITE, played=72)
  marked = draw(board.stones, probabilities, WHITE, last=3 * 19 + 3)
  assert plain.shape == (700, 700, 3)
  assert plain.dtype == np.uint8
  assert (plain.astype(int).sum(-1) < 60).sum() > 500  # the black stone
  red = (plain[..., 0] > 120) & (plain[..., 1] < 60) & (plain[..., 2] < 60)
  rows, columns = np.nonzero(red)
  assert len(rows) > 300
  # Of 19 lines the 16th, from both sides.
  assert 0.75 < rows.mean() / 700 < 0.87
  assert 0.75 < columns.mean() / 700 < 0.87
  assert (framed != plain).any(-1).sum() > 100
  rows, columns = np.nonzero((marked != plain).any(-1))
  assert len(rows) > 30
  assert 0.15 < rows.mean() / 700 < 0.27
  assert 0.15 < columns.mean() / 700 < 0.27
