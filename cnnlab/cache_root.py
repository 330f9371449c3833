"""Where cnnlab keeps what it can make again: compiled programs and decoded images."""

from __future__ import annotations

import os
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
