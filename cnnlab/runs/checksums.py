"""Checksums of a checkpoint's arrays and JSON: what is read is what was written, byte for byte."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np

from cnnlab.errors import RunError
from cnnlab.types import Json, JsonMapping, PyTree


def checksums(tree: PyTree) -> dict[str, str]:
  """Returns `{path: crc32}` of every array of a pytree, of its bytes, dtype and shape."""
  import jax

  sums = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    array = np.asarray(leaf)
    head = f"{array.dtype}{array.shape}".encode()
    body = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    sums[_name(path)] = f"{zlib.crc32(body, zlib.crc32(head)):08x}"
  return sums


def _name(path: tuple) -> str:
  """Returns a leaf's path in a form that is the same for tuples, namedtuples and their dicts."""
  return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def verify(arrays: PyTree, expected: Mapping[str, str]) -> None:
  """Raises RunError naming the arrays that are not those that were saved, byte for byte.

  Args:
    arrays: what was read.
    expected: the checksum of every array, by its path.
  """
  found = checksums(arrays)
  if found.keys() != expected.keys():
    names = sorted(found.keys() ^ expected.keys())
    raise RunError(f"checksums and arrays do not match: one lacks {', '.join(names[:5])}")
  wrong = sorted(name for name, value in expected.items() if found[name] != value)
  if wrong:
    raise RunError(
      f"checksum mismatch in {', '.join(wrong[:5])} ({len(wrong)} of {len(expected)} arrays)"
    )


def signed(about: JsonMapping) -> Json:
  """Returns a checkpoint's JSON with a checksum of itself."""
  return {**about, "crc32": crc_of(about)}


def crc_of(about: JsonMapping) -> str:
  """Returns the checksum that `signed` adds."""
  rest = {key: value for key, value in about.items() if key != "crc32"}
  return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"
