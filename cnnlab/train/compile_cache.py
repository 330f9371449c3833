"""XLA's persistent compilation cache, on by default, so that a program is compiled once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from typing import Any

import jax

from cnnlab.cache_root import cache_folder, processor

_log = logging.getLogger(__name__)


def enable_compile_cache() -> None:
  """Turns the cache on, unless it is off or the user has set JAX's own option for it.

  `CNNLAB_CACHE=off` turns it off; so does a folder that cannot be made.

  Raises:
    ConfigError: other users can write the folder.
  """
  if not jax.config.values["jax_compilation_cache_dir"]:
    # A home folder may be shared by machines; code compiled for one processor can crash another.
    directory = cache_folder("xla", processor(), "checked")
    if directory is None:
      return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    _check_entries(str(directory))
  # Some fifty small programs are compiled at start-up; all are worth keeping.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _check_entries(directory: str) -> None:
  """Makes JAX check what it finds in our folder: it runs whatever can be decompressed."""
  try:
    from jax._src import compilation_cache

    files_of = compilation_cache.get_file_cache
  except (ImportError, AttributeError):  # private, so another JAX may lack it: then unchecked
    return

  def checked(path: str) -> Any:
    found = files_of(path)
    return (CheckedFiles(found[0]), path) if found and path == directory else found

  compilation_cache.get_file_cache = checked


class CheckedFiles:
  """JAX's cache in files, with a digest of key and content at the head of each entry.

  A damaged entry, or one under the key of another, counts as missing and is removed.
  """

  def __init__(self, files: Any):
    self._files = files
    self._path = files._path  # JAX's messages name it
    self._complained = False

  def get(self, key: str) -> bytes | None:
    """Returns the entry's content, None where there is no sound one."""
    try:
      entry = self._files.get(key)
    except OSError as error:
      self._complain(f"cannot be read: {error}")
      return None
    if entry is None:
      return None
    content = entry[_DIGEST_BYTES:]
    if entry[:_DIGEST_BYTES] == _digest(key, content):
      return content
    self._complain("has damaged entries, which are made again")
    with contextlib.suppress(OSError):
      (self._path / f"{key}-cache").unlink()  # JAX never replaces an entry
    return None

  def put(self, key: str, value: bytes) -> None:
    """Stores an entry, if there is room."""
    try:
      self._files.put(key, _digest(key, value) + value)
    except OSError as error:
      self._complain(f"cannot be written: {error}")

  def _complain(self, what: str) -> None:
    if not self._complained:
      _log.warning("the cache of compiled programs %s %s", self._path, what)
    self._complained = True


_DIGEST_BYTES = hashlib.sha256().digest_size


def _digest(key: str, content: bytes) -> bytes:
  return hashlib.sha256(key.encode() + b"\0" + content).digest()
