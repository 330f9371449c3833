"""Folders of IDX files, the format of MNIST, gzipped or not; http://yann.lecun.com/exdb/mnist describes it."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from cnnlab.data import listing
from cnnlab.data.arrays import sources_of
from cnnlab.data.sources import ArraySource
from cnnlab.errors import DataError

_NAME = re.compile(
  r"(?P<set>.*?)(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)
_LAYOUT = (
  "such a folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, each of "
  "them gzipped (.gz) or not"
)
_UNSIGNED_BYTES = 0x08
_MOST_AXES = 4


def open_idx(root: str) -> ArraySource | tuple[ArraySource, ArraySource]:
  """Opens a folder of IDX files.

  Args:
    root: the folder.

  Returns:
    (train, test); or the one source that has it all, where there is no test split.

  Raises:
    DataError: a file is missing, damaged or not of this format; it is named.
  """
  place = listing.existing_folder(root, "data.name", _LAYOUT)
  files: dict[tuple[str, str], str] = {}
  sets = set()
  for entry in listing.entries(place):
    if (found := _NAME.fullmatch(entry.name)) is not None:
      sets.add(found["set"])
      split = "train" if found["split"] == "train" else "test"
      files.setdefault((split, found["what"]), entry.name)  # 'x' comes before 'x.gz'
  if len(sets) > 1:
    raise DataError(
      f"{place} holds several data sets: {listing.listed(sorted(sets))}; put each into a folder of its own"
    )
  splits = [split for split in ("train", "test") if (split, "images") in files]
  for split in splits or ["train"]:
    for what in ("images", "labels"):
      if (split, what) not in files:
        raise DataError(f"{place} has no {what} of the {split} split; {_LAYOUT}")
  pairs = [
    (read_idx(place / files[split, "images"]), read_idx(place / files[split, "labels"]))
    for split in splits
  ]
  sources = sources_of(pairs, None, f"idx:{place}")
  return sources[0] if len(sources) == 1 else (sources[0], sources[1])


def read_idx(path: Path) -> np.ndarray:
  """Returns the array of an IDX file of unsigned bytes.

  Raises:
    DataError: the file cannot be read, its header is damaged, or it is shorter or longer than that says.
  """
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      start = file.read(4)
      if len(start) < 4 or start[:2] != b"\0\0" or not 1 <= start[3] <= _MOST_AXES:
        raise DataError(
          f"{path}: its header is {start.hex(' ') or 'empty'}; an IDX file begins with 00 00, the type "
          f"and the number of axes, 1 to {_MOST_AXES}"
        )
      if start[2] != _UNSIGNED_BYTES:
        raise DataError(f"{path}: its type is {start[2]:02x}; allowed: 08, unsigned bytes")
      axes = file.read(4 * start[3])
      if len(axes) < 4 * start[3]:
        raise DataError(f"{path}: it ends within its header")
      shape = struct.unpack(f">{start[3]}I", axes)
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise DataError(f"{path} cannot be read: {listing.cause(error)}") from error
  if len(content) != math.prod(shape):
    raise DataError(
      f"{path}: its header says {'x'.join(map(str, shape))} = {math.prod(shape):,} bytes; it holds {len(content):,}"
    )
  return np.frombuffer(content, np.uint8).reshape(shape)
