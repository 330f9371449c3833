"""Writing a run's directory: config, environment, status and metrics, each readable as plain JSON.

    config.json       the resolved config, with what was derived from it under `derived`
    environment.json  versions, devices, git commit, command
    status.json       queued, running, interrupted, done, diverged or failed, and why
    metrics.jsonl     one line per logged step, without clock times, so that resuming changes nothing
    timing.jsonl      seconds and images per second at the same steps
    checkpoints/      Orbax (cnnlab.runs.checkpoint)
    tensorboard/      the same numbers as events

Files that change are replaced atomically; the two `.jsonl` files are appended to, one line per write.
"""

from __future__ import annotations

import datetime
import errno
import json
import logging
import os
import shutil
import socket
import time
import traceback
from pathlib import Path
from typing import Any

from cnnlab.config import flatten, upgrade_saved
from cnnlab.errors import DivergedError, RunError
from cnnlab.runs.lease import PREFIX, Lease, LeasedError, leased_elsewhere
from cnnlab.types import Json, JsonMapping

log = logging.getLogger(__name__)

# Locations and reader counts: they change no result, so a run may be moved.
PLACES = ("data.dir", "data.workers")
STATUSES = ("queued", "running", "interrupted", "done", "diverged", "failed")
PER_EXAMPLE = "per_example.npz"  # results of each evaluated example at the end of a run
_RETRY_PAUSES = (0.2, 1.0)  # seconds before another attempt to record a failure


def write_json(path: Path, value: object) -> None:
  """Replaces a JSON file atomically: a reader sees the old or the new one, never a part."""
  write_text(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=True) + "\n")


def write_text(path: Path, text: str) -> None:
  """Replaces a text file atomically, and only once its bytes are on the disk."""
  write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
  """Replaces a file atomically, and only once its bytes are on the disk."""
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with temporary.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
  """Returns a JSON file's content.

  Raises:
    RunError: the file is missing or is not valid JSON; the message names it.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise RunError(f"{path}: no such file; is {path.parent} a run directory?") from error
  except (ValueError, OSError) as error:
    raise RunError(f"{path}: cannot be read as JSON ({error})") from error


def now() -> str:
  """Returns the time as ISO 8601 in UTC, to the second."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def config_differences(old: JsonMapping, new: JsonMapping) -> dict[str, tuple]:
  """Returns `{dotted.key: (old, new)}` where two configs differ, ignoring `derived` and `PLACES`."""
  flat_old, flat_new = flatten(upgrade_saved(old)), flatten(upgrade_saved(new))
  keys = sorted(flat_old.keys() | flat_new.keys())
  return {
    key: (flat_old.get(key), flat_new.get(key))
    for key in keys
    if not key.startswith("derived.")
    and key not in PLACES
    and flat_old.get(key) != flat_new.get(key)
  }


class RunDirectory:
  """One run's directory, held by one process at a time.

  Args:
    path: created if it does not exist.
    config: the resolved config as plain JSON values, `derived` included.

  Raises:
    RunError: the directory belongs to a run with another config, holds files that are not a run's, or another process is training in it (LeasedError).
  """

  def __init__(self, path: str | Path, config: JsonMapping):
    self.path = Path(path).absolute()
    self._refuse_strangers(config)
    self.path.mkdir(parents=True, exist_ok=True)
    self._lease = Lease(self.path)
    if not (self.path / "config.json").exists():
      write_json(self.path / "config.json", config)
    self._status = self.read_status()

  def _refuse_strangers(self, config: JsonMapping) -> None:
    existing = self.path / "config.json"
    if existing.exists():
      differences = config_differences(read_json(existing), config)
      if differences:
        shown = "; ".join(
          f"{key} is {a!r} there, {b!r} here" for key, (a, b) in differences.items()
        )
        raise RunError(
          f"{self.path} holds a run with another config: {shown}. Use another --workdir, or move this run away"
        )
    elif self.path.is_dir():
      strange = sorted(
        p.name
        for p in self.path.iterdir()
        if p.name != "status.json" and not p.name.startswith(PREFIX)
      )
      if strange:
        raise RunError(
          f"{self.path} is not empty but is not a run directory (it has no config.json): {', '.join(strange[:5])}. Use another --workdir"
        )
    elif self.path.exists():
      raise RunError(f"{self.path} is a file, not a directory; use another --workdir")

  def read_status(self) -> Json:
    """Returns status.json, or {} if the run has none yet."""
    path = self.path / "status.json"
    return read_json(path) if path.exists() else {}

  def set_status(self, status: str, **fields: object) -> None:
    """Replaces status.json; fields that are not given keep their values.

    Raises:
      LeasedError: another process has taken the run over.
    """
    self._lease.check()
    if status not in STATUSES:
      raise ValueError(f"status {status!r} is none of {STATUSES}")
    if status == "running":
      self._status |= {
        "reason": None,
        "error": None,
        "pid": os.getpid(),
        "host": socket.gethostname(),
      }
      self._status.setdefault("started", now())
    self._status = (
      {"status": status} | self._status | {"status": status} | fields | {"updated": now()}
    )
    write_json(self.path / "status.json", self._status)

  def append(self, name: str, row: JsonMapping) -> None:
    """Appends a row to `metrics` or `timing` in one write, so that a kill truncates at most one line.

    Raises:
      LeasedError: another process has taken the run over.
    """
    self._lease.check()
    line = (json.dumps(dict(row)) + "\n").encode()
    descriptor = os.open(self.path / f"{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
      if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / f"{name}.jsonl"))
    finally:
      os.close(descriptor)

  def truncate_after(self, step: int) -> None:
    """Drops the rows after `step`, which a run that resumes at `step` writes again."""
    for name in ("metrics", "timing"):
      path = self.path / f"{name}.jsonl"
      if path.exists():
        rows = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        write_text(path, "".join(row + "\n" for row in rows))

  def last_row(self) -> Json:
    """Returns the last row of metrics, or {} if there is none."""
    path = self.path / "metrics.jsonl"
    rows = path.read_text().splitlines() if path.exists() else []
    return json.loads(rows[-1]) if rows else {}

  def seconds_until(self, step: int) -> float:
    """Returns the training seconds that earlier sessions had spent when they reached `step`."""
    path = self.path / "timing.jsonl"
    rows = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(row)["seconds"] for row in rows if _step_of(row) <= step), default=0.0)

  def close(self) -> None:
    """Releases the directory for other processes."""
    self._lease.release()


def _step_of(line: str) -> float:
  """Returns the step of a row; a truncated line counts as infinitely late, so it is dropped."""
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError, TypeError):
    return float("inf")


def record_failure(path: str | Path, error: BaseException) -> None:
  """Writes why a run failed or diverged into its status.json, also if the run never began.

  A directory that another process has taken over is left as it is. A failure that cannot be
  recorded, on a full disk say, is logged as a warning, so that `error` is what the user sees;
  the run then counts as dead once this process has ended.
  """
  directory = Path(path)
  for pause in (*_RETRY_PAUSES, None):
    try:
      if not (isinstance(error, LeasedError) or leased_elsewhere(directory)):
        _write_failure(directory, error)
      return
    except (OSError, RunError) as problem:
      if pause is None:
        log.warning("cannot record in %s that the run failed: %s", directory, problem)
        return
      remove_unfinished(directory / "checkpoints")
      time.sleep(pause)  # a checkpoint that is still being written holds its space for a moment


def _write_failure(directory: Path, error: BaseException) -> None:
  directory.mkdir(parents=True, exist_ok=True)
  status_path = directory / "status.json"
  status = read_json(status_path) if status_path.exists() else {}
  status |= {
    "status": "diverged" if isinstance(error, DivergedError) else "failed",
    "reason": f"{type(error).__name__}: {error}",
    "error": "".join(traceback.format_exception(error)),
    "updated": now(),
  }
  write_json(status_path, status)


def remove_unfinished(checkpoints: Path) -> None:
  """Removes the checkpoints in `checkpoints/` that were not written to the end, to free space."""
  for unfinished in checkpoints.glob("*orbax-checkpoint-tmp*"):
    shutil.rmtree(unfinished, ignore_errors=True)
