"""Decoded arrays kept on disk, so that a data set is decoded once and not at every start.

An entry is a folder named by the hash of what it was made from; it is written beside its place and
renamed into it, so that several processes may make the same one. An entry that is incomplete or
whose checksums do not match is made again. Nothing depends on the cache: delete it at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.cache_root import cache_folder

CacheEntry = tuple[dict[str, np.ndarray], Any]

_FORMAT = 1
_log = logging.getLogger(__name__)


def cached(key: Any, make: Callable[[], CacheEntry]) -> CacheEntry:
  """Returns (arrays, notes) of a cache entry, or makes and stores it.

  Args:
    key: JSON-able description of everything that the result depends on.
    make: returns named arrays and a JSON-able value. Its errors pass through, nothing is stored.

  Raises:
    ConfigError: other users can write the cache.
  """
  found = _place(key)
  if found is None:
    return make()
  place, text = found
  entry = _read(place, text)
  if entry is None:
    entry = make()
    _write(place, text, entry)
  return entry


def stored(key: Any) -> CacheEntry | None:
  """Returns a cache entry that `cached` has made, None if there is none.

  Raises:
    ConfigError: other users can write the cache.
  """
  found = _place(key)
  return None if found is None else _read(*found)


def _place(key: Any) -> tuple[Path, str] | None:
  """Returns where the entry of a key lies, and the key as text; None if nothing is cached."""
  root = cache_folder("decoded")
  if root is None:
    return None
  text = json.dumps([_FORMAT, key], sort_keys=True, default=str)
  return root / hashlib.sha256(text.encode()).hexdigest()[:32], text


def _checksum(array: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(array).data.cast("B")) if array.size else 0


def _read(place: Path, key: str) -> CacheEntry | None:
  if not place.exists():
    return None
  try:
    index = json.loads((place / "index.json").read_text())
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in index["checksums"]}
    broken = [
      name for name, array in arrays.items() if _checksum(array) != index["checksums"][name]
    ]
    if index.get("key", key) != key:
      broken = ["that of another"]
    if not broken:
      return arrays, index["notes"]
  # A damaged entry may fail in any way; whatever it is, the answer is to make it again.
  except Exception as error:
    _log.warning("decoded cache entry %s is unreadable (%s); made again", place, error)
  else:
    _log.warning("decoded cache entry %s fails its checksum (%s); made again", place, broken)
  _remove(place)
  return None


def _remove(place: Path) -> None:
  shutil.rmtree(place, ignore_errors=True)
  with contextlib.suppress(OSError):
    place.unlink()  # a file in the place of an entry


def _write(place: Path, key: str, entry: CacheEntry) -> None:
  arrays, notes = entry
  try:
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
  except OSError as error:
    _log.warning("decoded data are not cached: %s", error)
    return
  try:
    for name, array in arrays.items():
      np.save(fresh / f"{name}.npy", array)
    checksums = {name: _checksum(array) for name, array in arrays.items()}
    index = {"key": key, "checksums": checksums, "notes": notes}
    (fresh / "index.json").write_text(json.dumps(index))
    os.replace(fresh, place)
  # A full disk, or another process that was faster: the arrays in memory serve either way.
  except OSError as error:
    shutil.rmtree(fresh, ignore_errors=True)
    if not place.exists():
      _log.warning("decoded data are not cached: %s", error)
