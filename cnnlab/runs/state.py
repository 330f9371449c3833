"""What became of a run: the status it wrote last, held against whether its process still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

# What is not to be started again: a diverged run would diverge again, bit for bit.
FINISHED = ("done", "diverged")


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


def effective_status(status: Mapping[str, Any], leased: bool | None = None) -> str:
  """Returns the status of a run's status.json, held against whether anybody is at work there.

  'dead' is a 'running' one whose process is gone; whatever is not finished and has a live owner
  is 'running'.

  Args:
    status: the content of status.json.
    leased: of its directory, by `cnnlab.runs.lease.is_leased`; None (no lease is known) judges
      by the process that the status names, one on another host being taken at its word.
  """
  written = str(status.get("status", "unknown"))
  if leased:
    return written if written in FINISHED else "running"
  if written != "running":
    return written
  pid = status.get("pid")
  same_host = status.get("host") in (None, "", socket.gethostname())
  gone = same_host and isinstance(pid, int) and not process_lives(pid)
  return "dead" if leased is False or gone else written
