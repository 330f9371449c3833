"""Where cnnlab keeps what it can make again: compiled programs, the native library, decoded images.

What lies there is loaded as code. So a cache that other users can write is refused, and folders that
are made in it are the user's alone.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import shlex
import stat
from pathlib import Path

from cnnlab.errors import ConfigError

_log = logging.getLogger(__name__)


def cache_root() -> Path | None:
  """Returns the folder of all caches: $CNNLAB_CACHE, else one in the user's cache folder.

  None if CNNLAB_CACHE is 'off': nothing is cached.
  """
  place = os.environ.get("CNNLAB_CACHE", "")
  if place.lower() == "off":
    return None
  if place:
    return Path(place)
  return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnnlab"


def cache_folder(*names: str) -> Path | None:
  """Returns a folder of the cache, made if need be; nobody but its owner can write it.

  None where nothing is cached: CNNLAB_CACHE is 'off', or, with a warning, the folder cannot be made.

  Args:
    names: of the folder and those above it, within the cache.

  Raises:
    ConfigError: others can write it, or it is another user's.
  """
  try:
    place = cache_root()
    if place is None:
      return None
    place.parent.mkdir(parents=True, exist_ok=True)
    for name in ("", *names):
      place = place / name
      place.mkdir(mode=0o700, exist_ok=True)
      _require_private(place)
  # A file in its place, a full or read-only disk, no home folder, a NUL in the variable.
  except (OSError, RuntimeError, ValueError) as error:
    _warn(f"nothing is cached: {error}")
    return None
  return place


@functools.cache
def _warn(message: str) -> None:
  _log.warning(message)


def _require_private(folder: Path) -> None:
  """Raises ConfigError where another user can write a folder, or put another one in its place."""
  if not hasattr(os, "getuid"):
    return  # Windows has other means
  real = Path(os.path.realpath(folder))
  found = real.stat()
  if found.st_uid not in (os.getuid(), 0):
    _refuse(real, f"belongs to another user ({found.st_uid})")
  if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
    _refuse(real, "can be written by other users", f"chmod -R go-w {shlex.quote(str(real))}")
  for above in real.parents:
    mode = above.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
      why = f"can be replaced by other users, who can write {above}"
      _refuse(real, why, f"chmod o-w {shlex.quote(str(above))}")


def _refuse(folder: Path, why: str, mend: str = "") -> None:
  raise ConfigError(
    f"the cache {folder} {why}, and what it holds is run as code; set CNNLAB_CACHE to a folder of "
    "your own or to 'off'" + (f", or mend it: {mend}" if mend else "")
  )


def processor() -> str:
  """Returns a name of this machine's kind of processor, for what is compiled for it alone."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
  return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
