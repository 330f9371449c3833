"""Leases on run directories: renewed by the process that trains there, lost when it dies.

A lease is a file `.lease.N` that names its owner's machine and process; the highest N is valid.
Taking a lease over means creating N + 1, which the file system allows only one process to do, so
machines can share the directory without a lock service. An owner on this machine is dead as soon
as its process is gone. An owner elsewhere (another host or container) is presumed dead when it
has not renewed the file for `EXPIRES` seconds by the file system's own clock.
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
from collections.abc import Callable
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.runs.files import cannot_write
from cnnlab.runs.status import process_lives
from cnnlab.types import Json

RENEW = 10.0  # seconds between renewals by the owner
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
    RunError: the directory cannot be written to.
  """

  def __init__(self, directory: str | os.PathLike[str]):
    self.directory = Path(directory)
    try:
      self._take()
    except OSError as error:
      raise cannot_write(self.directory, error) from error
    self._stop = threading.Event()
    threading.Thread(target=self._renew, name="lease", daemon=True).start()

  def _take(self) -> None:
    found = _newest(self.directory)
    if found and _held(self.directory, *found, clock=_server_clock):
      raise LeasedError(f"{self.directory} is in use: {_words(_read(found[1]))} is training there")
    self._number = found[0] + 1 if found else 1
    self.path = self.directory / f"{PREFIX}{self._number}"
    try:
      with self.path.open("x") as file:
        try:
          json.dump(_identity(), file)
          file.flush()
        except BaseException:  # without an owner it would count as taken until it expires
          self.path.unlink(missing_ok=True)
          raise
    except FileExistsError as error:
      raise LeasedError(f"{self.directory} is in use: another process took it first") from error
    if not self._counts():  # another process took the lease over in the meantime
      self.path.unlink(missing_ok=True)
      raise LeasedError(f"{self.directory} is in use: another process took it first")
    for number, older in _all(self.directory):
      if number < self._number:
        with contextlib.suppress(OSError):  # a folder, by some accident
          older.unlink(missing_ok=True)

  def check(self) -> None:
    """Checks that no other process has taken the lease over; call it before each write.

    Raises:
      LeasedError: this process did not renew its lease and was presumed dead.
    """
    if not self._counts():
      raise LeasedError(
        f"{self.directory}: this process did not renew its lease for {EXPIRES:.0f} s and was "
        "presumed dead; another process has taken the run over"
      )

  def release(self) -> None:
    """Releases the directory; the file stays, without an owner, so that its number is not reused."""
    self._stop.set()
    if self._counts():
      temporary = self.directory / f".{self.path.name}.{os.getpid()}.tmp"
      try:
        temporary.write_text("{}")
        os.replace(temporary, self.path)
      except OSError:  # a full disk
        with contextlib.suppress(OSError), self.path.open("r+b") as file:
          file.write(b"{}")
          file.truncate()
      finally:
        with contextlib.suppress(OSError):
          temporary.unlink(missing_ok=True)

  def _counts(self) -> bool:
    newest = _newest(self.directory)
    return newest is not None and newest[0] == self._number

  def _renew(self) -> None:
    while not self._stop.wait(RENEW):
      with contextlib.suppress(OSError):  # the file system may be unavailable for a moment
        os.utime(self.path)


def is_leased(directory: str | os.PathLike[str]) -> bool | None:
  """Returns whether a live process trains in a run directory; None if no lease was ever taken.

  Nothing is written. Owners elsewhere are judged by this machine's clock, so the answer may be
  wrong for a moment if the clocks differ; taking a lease does not depend on it.
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
  """Returns a description of the process that holds, or last held, the lease of a run directory."""
  found = _newest(Path(directory))
  return _words(_read(found[1])) if found else "nobody"


@functools.cache
def _machine() -> str:
  """Returns an identifier shared by processes that can see whether the others are alive."""
  try:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return socket.gethostname()


def _began(pid: int) -> str | None:
  """Returns a process's start time in kernel ticks, which exposes a reused process number."""
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
  except (OSError, IndexError):
    return None


def _identity() -> Json:
  pid = os.getpid()
  return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "began": _began(pid)}


def _words(identity: Json) -> str:
  if identity.get("machine") is None:
    return (
      f"a process whose lease cannot be read (until {EXPIRES:.0f} s after its last sign of life)"
    )
  return f"process {identity.get('pid', 'unknown')} on {identity.get('host', 'unknown')}"


def _all(directory: Path) -> list[tuple[int, Path]]:
  try:
    names = os.listdir(directory)
  except (FileNotFoundError, NotADirectoryError):
    return []
  numbers = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
  return sorted((int(n), directory / f"{PREFIX}{n}") for n in numbers if n.isdecimal())


def _newest(directory: Path) -> tuple[int, Path] | None:
  every = _all(directory)
  return every[-1] if every else None


def _read(path: Path) -> Json:
  """Returns the owner, or an unknown one while the file is being written."""
  try:
    return dict(json.loads(path.read_text()))
  except (OSError, ValueError, TypeError):
    return {"machine": None}


def _held(directory: Path, number: int, path: Path, clock: Callable[[Path], float]) -> bool:
  identity = _read(path)
  if not identity:
    return False  # released
  pid = identity.get("pid")
  if identity.get("machine") == _machine() and isinstance(pid, int):
    return process_lives(pid) and identity.get("began") in (None, _began(pid))
  try:
    return clock(directory) - path.lstat().st_mtime < EXPIRES
  except FileNotFoundError:  # taken over at this moment
    return True


def _server_clock(directory: Path) -> float:
  """Returns the time of the clock that sets this directory's modification times."""
  with tempfile.NamedTemporaryFile(dir=directory, prefix=".lease-clock.") as file:
    return os.fstat(file.fileno()).st_mtime
