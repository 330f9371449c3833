"""Where cnnlab keeps what it can make again: compiled programs, the native library, decoded images."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


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


def processor() -> str:
  """Returns a name of this machine's kind of processor, for what is compiled for it alone."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
  return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
