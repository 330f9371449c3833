"""What became of a run: the status it wrote last, held against whether its process still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any


def process_lives(pid: int) -> bool:
  """Returns whether a process of this machine exists and is no zombie."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except (OSError, IndexError):
    return True


def effective_status(status: Mapping[str, Any]) -> str:
  """Returns the status of a run's status.json; 'dead' for a 'running' one whose process is gone.

  A run on another host is taken at its word: its process cannot be seen from here.
  """
  written = str(status.get("status", "unknown"))
  pid = status.get("pid")
  same_host = status.get("host") in (None, "", socket.gethostname())
  if written == "running" and same_host and isinstance(pid, int) and not process_lives(pid):
    return "dead"
  return written
