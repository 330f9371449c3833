"""The status of a run: what it wrote last, checked against whether its process is alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.runs.files import present, read_json
from cnnlab.types import Json, JsonMapping

STATUSES = ("queued", "running", "interrupted", "done", "diverged", "failed")

# Not to be started again: a diverged run would diverge again, bit for bit.
FINISHED = ("done", "diverged")


def read_status(directory: Path) -> Json:
  """Returns the content of a run's status.json, {} if it has none yet.

  Raises:
    RunError: the file is damaged.
  """
  path = directory / "status.json"
  if not present(path):
    return {}
  status = read_json(path)
  if status.get("status") not in STATUSES:
    raise RunError(f"{path}: 'status' is {status.get('status')!r}; allowed: {', '.join(STATUSES)}")
  return status


def process_lives(pid: int) -> bool:
  """Returns whether a process of this machine exists and is not a zombie."""
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


def effective_status(status: JsonMapping, leased: bool | None = None) -> str:
  """Returns the status in a run's status.json, checked against whether a process is training it.

  A 'running' run whose process is gone is 'dead'; an unfinished run with a live owner is 'running'.

  Args:
    status: the content of status.json.
    leased: whether its directory is leased, by `cnnlab.runs.lease.is_leased`; None (no lease known)
      checks the process that the status names, and trusts the status of another host.
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
