"""Who trains in a run directory: a lease that its owner renews, and that a dead owner loses.

A lease is a file `.lease.N` that names its owner's machine and process. The highest N counts.
Taking one over means creating N + 1, which the file system lets one process do only; no lock
service is needed, so that machines may share the directory. An owner on this machine is dead
when its process is gone, at once. An owner elsewhere (another host or container) is dead when
it has not renewed the file for `EXPIRES` seconds, by the file system's own clock.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError
from cnnlab.runs.state import process_lives

RENEW = 10.0  # seconds between an owner's signs of life
EXPIRES = 60.0  # a compilation or a slow file system must not look like a death
PREFIX = ".lease."


class LeasedError(RunError):
  """Another process trains in this directory."""


class Lease:
  """The right to write into a run directory, held from its creation until `release`.

  Args:
    directory: must exist.

  Raises:
    LeasedError: another process holds it; the message names that process.
  """

  def __init__(self, directory: str | os.PathLike[str]):
    self.directory = Path(directory)
    found = _newest(self.directory)
    if found and _held(self.directory, *found, clock=_server_clock):
      raise LeasedError(f"{self.directory} is in use: {_words(_read(found[1]))} is training there")
    self._number = found[0] + 1 if found else 1
    self.path = self.directory / f"{PREFIX}{self._number}"
    try:
      with self.path.open("x") as file:
        json.dump(_identity(), file)
    except FileExistsError as error:
      raise LeasedError(f"{self.directory} is in use: another process was quicker") from error
    if not self._counts():  # somebody was two steps ahead
      self.path.unlink(missing_ok=True)
      raise LeasedError(f"{self.directory} is in use: another process was quicker")
    for number, older in _all(self.directory):
      if number < self._number:
        older.unlink(missing_ok=True)
    self._stop = threading.Event()
    threading.Thread(target=self._renew, name="lease", daemon=True).start()

  def check(self) -> None:
    """Makes sure that nobody has taken the lease over: to be called before a write.

    Raises:
      LeasedError: this process was silent for so long that it was held for dead.
    """
    if not self._counts():
      raise LeasedError(
        f"{self.directory}: this process gave no sign of life for {EXPIRES:.0f} s, and another one "
        "has taken the run over"
      )

  def release(self) -> None:
    """Gives the directory free. The file stays, empty of an owner, so that its number is not used again."""
    self._stop.set()
    if self._counts():
      with contextlib.suppress(OSError):
        temporary = self.directory / f".{self.path.name}.{os.getpid()}.tmp"
        temporary.write_text("{}")
        os.replace(temporary, self.path)

  def _counts(self) -> bool:
    newest = _newest(self.directory)
    return newest is not None and newest[0] == self._number

  def _renew(self) -> None:
    while not self._stop.wait(RENEW):
      with contextlib.suppress(OSError):  # a file system that is away for a moment
        os.utime(self.path)


def is_leased(directory: str | os.PathLike[str]) -> bool | None:
  """Returns whether a live process trains in a run directory; None where none ever took a lease.

  Writes nothing. Of owners elsewhere it judges by this machine's clock, so it may err for a
  moment where the clocks differ; taking a lease does not.
  """
  found = _newest(Path(directory))
  return None if found is None else _held(Path(directory), *found, clock=lambda _: time.time())


def leased_elsewhere(directory: str | os.PathLike[str]) -> bool:
  """Returns whether a live process other than this one trains in a run directory."""
  found = _newest(Path(directory))
  if found is None or not is_leased(directory):
    return False
  identity = _read(found[1])
  return (identity.get("machine"), identity.get("pid")) != (_machine(), os.getpid())


def owner(directory: str | os.PathLike[str]) -> str:
  """Returns in words who holds, or last held, the lease of a run directory."""
  found = _newest(Path(directory))
  return _words(_read(found[1])) if found else "nobody"


@functools.cache
def _machine() -> str:
  """Returns what two processes have in common when each can see whether the other one lives."""
  try:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return socket.gethostname()


def _began(pid: int) -> str | None:
  """Returns when a process began, in the kernel's ticks, so that a number used again is noticed."""
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
  except (OSError, IndexError):
    return None


def _identity() -> dict[str, Any]:
  pid = os.getpid()
  return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "began": _began(pid)}


def _words(identity: dict[str, Any]) -> str:
  return f"process {identity.get('pid', 'unknown')} on {identity.get('host', 'unknown')}"


def _all(directory: Path) -> list[tuple[int, Path]]:
  try:
    names = os.listdir(directory)
  except FileNotFoundError:
    return []
  numbers = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
  return sorted((int(n), directory / f"{PREFIX}{n}") for n in numbers if n.isdecimal())


def _newest(directory: Path) -> tuple[int, Path] | None:
  every = _all(directory)
  return every[-1] if every else None


def _read(path: Path) -> dict[str, Any]:
  """Returns the owner; one of whom nothing is known where the file is being written."""
  try:
    return dict(json.loads(path.read_text()))
  except (OSError, ValueError, TypeError):
    return {"machine": None}


def _held(directory: Path, number: int, path: Path, clock: Any) -> bool:
  identity = _read(path)
  if not identity:
    return False  # released
  pid = identity.get("pid")
  if identity.get("machine") == _machine() and isinstance(pid, int):
    return process_lives(pid) and identity.get("began") in (None, _began(pid))
  try:
    return clock(directory) - path.stat().st_mtime < EXPIRES
  except FileNotFoundError:  # taken over at this moment
    return True


def _server_clock(directory: Path) -> float:
  """Returns the time by the clock that stamps this directory's files."""
  with tempfile.NamedTemporaryFile(dir=directory, prefix=".lease-clock.") as file:
    return os.fstat(file.fileno()).st_mtime
