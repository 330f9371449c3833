"""Games of Go: each move is an example, the position before it as bit planes."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import listing
from cnnlab.data.cache import CacheEntry, cached
from cnnlab.data.features import BITS, Example, Feature, Features
from cnnlab.data.images import BadImage, Size
from cnnlab.data.settings import DataSettings
from cnnlab.errors import DataError, printable, shown, unknown
from cnnlab.go.games import SIDE, SPLITS, SUFFIXES, Broken, Games, join, read_games
from cnnlab.go.kernels import PLANES

FEATURES: Features = {
  "image": Feature("image", (SIDE, SIDE, PLANES), BITS),
  "move": Feature("point", (), "int32"),
  "number": Feature("vector", (), "int32"),
}

_FORMAT = 1  # of what is cached
_HOLDS = f"games are files that end in {', '.join(SUFFIXES)}, or a folder of them"
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GoSource:
  """The moves of one split, in a fixed random order, so that any first part is a fair sample.

  Planes are computed when they are read: a core makes some thousand positions a second, and ten
  million moves take less room than the planes of twenty thousand positions.

  Attributes:
    name: what errors call it.
    games: of all splits.
    positions: indices of the split's moves in `games.moves`, int32 [n].
    key: tells files and splits apart.
  """

  name: str
  games: Games
  positions: np.ndarray
  key: tuple[str, ...]
  parallel_reads: bool = True

  @property
  def features(self) -> Features:
    """What its examples hold."""
    return FEATURES

  def size(self) -> Size:
    """Returns the (height, width) that all its images have."""
    return SIDE, SIDE

  def __len__(self) -> int:
    return len(self.positions)

  def labels(self) -> None:
    """Returns None: examples have no single label."""

  def groups(self) -> np.ndarray:
    """Returns the game of each move, int64 [n]: a hold-out never divides one."""
    return self.games.game_of(self.positions)

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    positions = self.positions[np.asarray(indices, np.int64)]
    planes, numbers = self.games.planes(positions), self.games.numbers(positions)
    moves = self.games.moves[positions].astype(np.int32)
    return [
      {"image": image, "move": move, "number": number}
      for image, move, number in zip(planes, moves, numbers, strict=True)
    ]

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    return ["go", _FORMAT, *self.key]


def open_go(path: str, settings: DataSettings) -> tuple[GoSource, GoSource]:
  """Opens a file of games, or all such files below a folder.

  A game belongs to 'train', 'validation' or 'test' by its id or file name. A game that repeats an
  earlier one is left out; so are broken ones, of which there may be `data.max_bad_images`.

  Args:
    path: of the file or folder.
    settings: the data section; `train_split` is 'train' and `eval_split` 'test' unless they are set.

  Raises:
    DataError: there is no game, too many are broken, a split is unknown or empty, or another size
      or number of channels is asked for.
  """
  for key, own in (("image_size", SIDE), ("resize", SIDE), ("channels", PLANES)):
    value = getattr(settings, key)
    if value not in (0, own, (own, own)):
      raise DataError(f"data.{key} is {value}; a board is {SIDE}x{SIDE} with {PLANES} planes: 0")
  files = _files(path)
  digest = hashlib.sha256()
  for name, file in files.items():
    info = file.stat()
    digest.update(os.fsencode(name) + f"\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
  key = digest.hexdigest()
  arrays, broken = cached(["games", _FORMAT, key], lambda: _read(files))
  _check_broken(path, broken, settings.max_bad_images)
  games = Games(*(arrays[field.name] for field in dataclasses.fields(Games)))
  train, evaluation = (
    _source(path, games, arrays, key, split, what)
    for split, what in (
      (settings.train_split or "train", "train_split"),
      (settings.eval_split or "test", "eval_split"),
    )
  )
  return train, evaluation


def _files(path: str) -> dict[str, Path]:
  """Returns the files of games by their names; DataError if there are none."""
  if not Path(path).expanduser().is_dir():
    file = listing.existing_file(path, "data.name", _HOLDS)
    if not file.name.lower().endswith(SUFFIXES):
      raise DataError(f"data.name: {shown(path)} is no file of games; {_HOLDS}")
    return {file.name: file}
  folder = listing.existing_folder(path, "data.name", _HOLDS)
  found = (f for f in folder.rglob("*") if f.name.lower().endswith(SUFFIXES) and f.is_file())
  files = {file.relative_to(folder).as_posix(): file for file in sorted(found)}
  if not files:
    raise DataError(f"data.name: the folder {shown(path)} has no games; {_HOLDS}")
  return files


def _read(files: dict[str, Path]) -> CacheEntry:
  """Returns the fields of `Games` and the shuffled positions of each split; what is broken."""
  broken: list[str] = []
  found = []
  for name, file in files.items():
    for game in read_games(file, name):
      if isinstance(game, Broken):
        broken.append(str(game))
      else:
        found.append(game)
  games = join(found)
  arrays = {field.name: getattr(games, field.name) for field in dataclasses.fields(Games)}
  for number, split in enumerate(SPLITS):
    positions = games.positions(split)
    bits = np.random.Philox(key=np.array([0x60, number], np.uint64)).random_raw(len(positions))
    arrays[split] = positions[np.argsort(bits, kind="stable")]
  return arrays, broken


def _check_broken(path: str, broken: list[str], limit: int) -> None:
  if not broken:
    return
  count = f"{len(broken)} game{'s' * (len(broken) > 1)} cannot be read"
  reasons = "".join(f"\n  {printable(one)}" for one in broken[:10])
  reasons += f"\n  ... and {len(broken) - 10} more" * (len(broken) > 10)
  if len(broken) > limit:
    raise DataError(f"{path}: {count}, more than data.max_bad_images allows ({limit}):{reasons}")
  _log.warning("%s: %s and left out:%s", path, count, reasons)


def _source(
  path: str, games: Games, arrays: dict[str, np.ndarray], key: str, split: str, what: str
) -> GoSource:
  if split not in SPLITS:
    raise DataError(f"data.{what}: {unknown('split', split, SPLITS)}")
  if not len(arrays[split]):
    counts = ", ".join(f"{name} {np.sum(games.splits == i)}" for i, name in enumerate(SPLITS))
    raise DataError(f"data.{what}: {path} has no game in {split!r}; games: {counts}")
  return GoSource(f"go:{path}", games, arrays[split], (key, split))
