"""Predictions of moves without a network, to compare accuracies with.

Command: python -m cnnlab.experiments.go_features.baselines GAMES baselines.csv --train=100000 \
  --test=5000

  first_order  the move that followed most often, in the training positions, after the last move
  pattern      the reply that followed most often after the largest pattern around the last move that
               occurred there: windows of 17x17 down to 3x3 points

Both see the training positions in all eight symmetries, and neither predicts an illegal move.
"""

from __future__ import annotations

import argparse
import collections
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnlab.data.go import GoSource, open_go
from cnnlab.data.settings import DataSettings
from cnnlab.go.games import SIDE
from cnnlab.go.kernels import AFTER, TURNS

RADII = (8, 6, 5, 4, 3, 2, 1)
OUTSIDE = 3

_POINTS = SIDE * SIDE
_CHUNK = 5000


class Positions(NamedTuple):
  """What the baselines see of positions.

  Attributes:
    stones: uint8 [n, 19, 19]: 0 empty, 1 of the player to move, 2 of the opponent.
    last: the opponent's last move, [n]; -1 where there is none.
    move: the move that was played, [n].
    legal: bool [n, 361].
  """

  stones: np.ndarray
  last: np.ndarray
  move: np.ndarray
  legal: np.ndarray


def read(source: GoSource, count: int) -> Positions:
  """Returns the first positions of a split."""
  parts = []
  for start in range(0, min(count, len(source)), _CHUNK):
    positions = source.positions[start : min(start + _CHUNK, count)]
    bits = np.unpackbits(source.games.planes(positions), axis=-1, bitorder="little")
    newest = (bits[..., TURNS] & bits[..., 1]).reshape(-1, _POINTS)
    last = np.where(newest.any(1), newest.argmax(1), -1)
    legal = bits[..., AFTER : AFTER + 8].any(-1).reshape(-1, _POINTS)
    moves = source.games.moves[positions].astype(int)
    parts.append(Positions(bits[..., 0] + 2 * bits[..., 1], last, moves, legal))
  return Positions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def symmetric(positions: Positions) -> Iterator[Positions]:
  """Yields the positions in the eight symmetries of the board; `legal` stays as it is."""
  points = np.arange(_POINTS).reshape(SIDE, SIDE)
  for turns in range(4):
    for mirrored in (False, True):
      stones, moved = np.rot90(positions.stones, turns, (1, 2)), np.rot90(points, turns)
      if mirrored:
        stones, moved = stones[:, ::-1], moved[::-1]
      place = np.append(np.argsort(moved, axis=None), -1)  # -1 stays -1
      yield positions._replace(
        stones=stones, last=place[positions.last], move=place[positions.move]
      )


def first_order(train: Positions, test: Positions) -> np.ndarray:
  """Returns the predicted move of each test position."""
  counts = np.zeros((_POINTS + 1, _POINTS), np.int64)
  for seen in symmetric(train):
    np.add.at(counts, (seen.last, seen.move), 1)
  # Where a reply was never seen, the moves that are frequent in general.
  scores = counts[test.last] + counts.sum(0) / (counts.sum() + 1)
  return np.where(test.legal, scores, -1).argmax(1)


def pattern(train: Positions, test: Positions) -> np.ndarray:
  """Returns the predicted move of each test position; that of `first_order` where none is known."""
  predicted = first_order(train, test)
  known = np.zeros(len(predicted), bool)
  for radius in RADII:
    replies: dict[bytes, collections.Counter[tuple[int, int]]] = {}
    for seen in symmetric(train):
      for key, offset in zip(_windows(seen, radius), _offsets(seen.last, seen.move), strict=True):
        replies.setdefault(key, collections.Counter())[offset] += 1
    for i, key in enumerate(_windows(test, radius)):
      if known[i] or test.last[i] < 0 or key not in replies:
        continue
      for offset, _ in replies[key].most_common():
        row, column = test.last[i] // SIDE + offset[0], test.last[i] % SIDE + offset[1]
        if 0 <= row < SIDE and 0 <= column < SIDE and test.legal[i, row * SIDE + column]:
          predicted[i], known[i] = row * SIDE + column, True
          break
  return predicted


def _offsets(last: np.ndarray, move: np.ndarray) -> Iterator[tuple[int, int]]:
  rows, columns = move // SIDE - last // SIDE, move % SIDE - last % SIDE
  return zip(rows.tolist(), columns.tolist(), strict=True)


def _windows(positions: Positions, radius: int) -> Iterator[bytes]:
  """Yields the stones around the last move, `OUTSIDE` beyond the edge."""
  margins = ((0, 0), (radius, radius), (radius, radius))
  padded = np.pad(positions.stones, margins, constant_values=OUTSIDE)
  size = 2 * radius + 1
  for stones, last in zip(padded, positions.last.tolist(), strict=True):
    row, column = divmod(max(last, 0), SIDE)
    yield stones[row : row + size, column : column + size].tobytes()


def main() -> None:
  """Writes the accuracy of each baseline as a CSV file."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("games")
  parser.add_argument("out", type=Path)
  parser.add_argument("--train", type=int, default=100_000)
  parser.add_argument("--test", type=int, default=5_000)
  arguments = parser.parse_args()
  sources = open_go(arguments.games, DataSettings(max_bad_images=10))
  train, test = (
    read(source, count)
    for source, count in zip(sources, (arguments.train, arguments.test), strict=True)
  )
  with arguments.out.open("x", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["baseline", "train_positions", "test_positions", "top1"])
    for name, baseline in (("first_order", first_order), ("pattern", pattern)):
      top1 = float(np.mean(baseline(train, test) == test.move))
      rows.writerow([name, len(train.move), len(test.move), f"{top1:.4f}"])
      print(f"{name}: {top1:.2%} of {len(test.move)} moves")


if __name__ == "__main__":
  main()
