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

import contextlib
import datetime
import json
import logging
import os
import shutil
import socket
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from cnnlab.config import flatten, upgrade_saved
from cnnlab.errors import DivergedError, RunError
from cnnlab.runs import rows
from cnnlab.runs.files import (
  make_folder,
  present,
  read_json,
  to_json,
  write_bytes,
  write_json,
  write_text,
)
from cnnlab.runs.lease import PREFIX, Lease, LeasedError, leased_elsewhere
from cnnlab.runs.reserve import Reserve
from cnnlab.runs.status import FINISHED, STATUSES, read_status
from cnnlab.types import Json, JsonMapping

__all__ = [
  "PLACES",
  "STATUSES",
  "RunDirectory",
  "read_json",
  "write_bytes",
  "write_json",
  "write_text",
]

log = logging.getLogger(__name__)

# Locations, reader counts, loggers: they change no result, so a run may be moved.
PLACES = ("data.dir", "data.workers", "imports", "loggers")
PER_EXAMPLE = "per_example.npz"  # results of each evaluated example at the end of a run
_LONGEST_TRACE, _LONGEST_REASON = 8000, 1000  # characters, where the space for them is scarce
_RETRY_PAUSES = (0.2, 1.0)  # seconds before another attempt to record a failure


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
    and not _same(flat_old.get(key), flat_new.get(key))
  }


def _same(a: object, b: object) -> bool:
  """Returns whether two values of configs are equal; nan equals nan, or such a run could not resume."""
  return a == b or json.dumps(a, default=str) == json.dumps(b, default=str)


class RunDirectory:
  """One run's directory, held by one process at a time.

  A damaged status.json is written anew, since all but the time of the start is known from
  elsewhere; every other damaged file is refused or told of.

  Args:
    path: created if it does not exist.
    config: the resolved config as plain JSON values, `derived` included.

  Raises:
    RunError: the directory cannot be made or written to, is damaged, belongs to a run with another
      config or holds files that are not a run's, or another process is training in it (LeasedError).
  """

  def __init__(self, path: str | Path, config: JsonMapping):
    self.path = Path(path).absolute()
    self._refuse_strangers(config)
    make_folder(self.path)
    self._lease = Lease(self.path)
    new = not present(self.path / "config.json")
    try:
      if new:
        write_json(self.path / "config.json", config)
      self._status = self.read_status()
      self._rows = {name: rows.Rows(self.path / f"{name}.jsonl") for name in rows.NAMES}
      for each in self._rows.values():
        each.read()
      self._reserve = Reserve(self.path)
      self._reserve.keep()
    except BaseException:
      if new:  # it never began, so it must not refuse another config
        with contextlib.suppress(OSError):
          (self.path / "config.json").unlink(missing_ok=True)
      self._lease.release()
      raise

  def _refuse_strangers(self, config: JsonMapping) -> None:
    existing = self.path / "config.json"
    try:
      names = {entry.name for entry in self.path.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
      return  # it is to be made
    except (OSError, ValueError) as error:
      reason = error.strerror if isinstance(error, OSError) else error
      raise RunError(f"{str(self.path)!r} cannot be a run directory: {reason}") from error
    if existing.name in names:
      differences = config_differences(read_json(existing), config)
      if differences:
        shown = "; ".join(
          f"{key} is {a!r} there, {b!r} here" for key, (a, b) in differences.items()
        )
        raise RunError(
          f"{self.path} holds a run with another config: {shown}. Use another --workdir, or move this run away"
        )
      return
    strange = sorted(n for n in names if n != "status.json" and not n.startswith(PREFIX))
    if strange:
      raise RunError(
        f"{self.path} is not empty but is not a run directory (it has no config.json): {', '.join(strange[:5])}. Use another --workdir"
      )

  def read_status(self) -> Json:
    """Returns status.json; {} if the run has none yet, or a damaged one, which is told.

    Raises:
      RunError: there is a folder in its place.
    """
    try:
      return read_status(self.path)
    except RunError as error:
      if (self.path / "status.json").is_dir():
        raise
      log.warning("%s; it is written anew", error)
      return {}

  def set_status(self, status: str, **fields: object) -> None:
    """Replaces status.json; fields that are not given keep their values.

    Raises:
      LeasedError: another process has taken the run over.
      RunError: it cannot be written.
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
      {"status": status}
      | self._status
      | {"status": status}
      | fields
      | {"logged": self.logged(), "updated": now()}
    )
    write_json(self.path / "status.json", self._status)
    if status == "done":
      self._reserve.release()

  def append(self, name: str, row: JsonMapping) -> None:
    """Appends a row to `metrics` or `timing`.

    Raises:
      LeasedError: another process has taken the run over.
      RunError: it cannot be written.
    """
    self._lease.check()
    self._rows[name].append(row)

  def logged(self) -> Json:
    """Returns how many rows there are, and their checksums: what readers compare the files with."""
    return {name: each.record() for name, each in self._rows.items()}

  def keep_until(self, step: int, logged: JsonMapping | None) -> None:
    """Drops the rows after `step`, which a run that resumes there writes again; tells of lost ones.

    Args:
      step: number of finished steps.
      logged: what `logged()` returned at that step; None if that is not known.

    Raises:
      RunError: the files cannot be read or written.
    """
    self.tell_of_lost_rows(logged)
    found = {name: each.read(until=step) for name, each in self._rows.items()}
    if any(one.dropped for one in found.values()):
      # First, so that nobody who reads them in between misses rows.
      self.set_status(str(self._status.get("status", "running")))
    for name, one in found.items():
      kept = self._rows[name].replace(one)
      if kept:
        log.warning("%s.jsonl is damaged: some lines are no rows; it is kept as %s", name, kept)

  def tell_of_lost_rows(self, logged: object) -> None:
    """Logs a warning for each file that lacks rows, or has others, by what `logged()` returned."""
    for name, each in self._rows.items():
      record = logged.get(name) if isinstance(logged, Mapping) else None
      if problem := rows.complaint(each.path, record):
        log.warning("%s is damaged: %s", each.path, problem)

  def last_row(self) -> Json:
    """Returns the last row of metrics, or {} if there is none."""
    return self._rows["metrics"].last

  def seconds_spent(self) -> float:
    """Returns the training seconds until the last row of timing."""
    seconds = self._rows["timing"].last.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0

  def close(self) -> None:
    """Releases the directory for other processes."""
    self._lease.release()


def record_failure(path: str | Path, error: BaseException) -> None:
  """Writes why a run failed or diverged into its status.json, also if the run never began.

  A directory that another process has taken over is left as it is. On a full disk the status is
  written in the space that the run has kept for it. A failure that cannot be recorded is logged
  as a warning, so that `error` is what the user sees; the run then counts as dead once this
  process has ended.
  """
  what = "diverged" if isinstance(error, DivergedError) else "failed"
  _record(
    Path(path),
    error,
    {
      "status": what,
      "reason": f"{type(error).__name__}: {error}",
      "error": "".join(traceback.format_exception(error)),
    },
  )


def record_interruption(path: str | Path, error: BaseException) -> None:
  """Writes into a run's status.json that it was stopped, as `record_failure` does."""
  _record(Path(path), error, {"status": "interrupted", "reason": str(error), "error": None})


def _record(directory: Path, error: BaseException, fields: JsonMapping) -> None:
  for pause in (*_RETRY_PAUSES, None):
    try:
      if not (isinstance(error, LeasedError) or leased_elsewhere(directory)):
        _write_last_word(directory, fields)
      return
    except (OSError, RunError) as problem:
      if pause is None:
        log.warning("cannot record in %s that the run failed: %s", directory, problem)
        return
      remove_unfinished(directory / "checkpoints")
      time.sleep(pause)  # a checkpoint that is still being written holds its space for a moment


def _write_last_word(directory: Path, fields: JsonMapping) -> None:
  make_folder(directory)
  path = directory / "status.json"
  try:
    status = read_status(directory)
  except RunError as error:
    log.warning("%s; it is written anew", error)
    status = {}
  if status.get("status") in FINISHED and fields["status"] != "failed":
    return  # it has ended before
  status |= {**fields, "updated": now()}
  try:
    write_json(path, status)
  except RunError:
    status["error"] = (status["error"] or "")[-_LONGEST_TRACE:]
    status["reason"] = status["reason"][:_LONGEST_REASON]
    with contextlib.suppress(OSError, ValueError):
      Reserve(directory).become(path, to_json(status))
      return
    raise


def remove_unfinished(checkpoints: Path) -> None:
  """Removes the checkpoints in `checkpoints/` that were not written to the end, to free space."""
  for unfinished in checkpoints.glob("*orbax-checkpoint-tmp*"):
    shutil.rmtree(unfinished, ignore_errors=True)
