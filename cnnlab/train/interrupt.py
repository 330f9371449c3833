"""Ctrl-C and SIGTERM: acknowledged at once; the step finishes, the run is saved, and the process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from cnnlab.errors import CnnlabError, DivergedError, RunError
from cnnlab.runs.directory import record_failure, record_interruption
from cnnlab.runs.files import DISK
from cnnlab.signals import SIGNALS, can_raise, is_repeat, send_again, tell

PATIENCE = 2.0  # seconds after the second signal, until a process that does not end itself is ended

_END = b"\0"  # no signal's number: ends the thread, whoever else holds the pipe


class Interrupted(CnnlabError):
  """A run was asked to stop; the same command continues it."""

  def __init__(self, message: str, signum: int):
    super().__init__(message)
    self.exit_code = 128 + signum


class Interrupts:
  """While active, turns SIGINT and SIGTERM into an orderly end; may be nested.

  Between steps there is something to save: inside `between_steps` the first signal is remembered
  in `received`. Before (data, restoring, compilation) there is nothing to save, and the first
  signal raises KeyboardInterrupt, as the second does everywhere. What leaves the block is
  `Interrupted`. A thread acknowledges each signal, since Python's handlers wait for compiled code.

  Signals reach the main thread only, so elsewhere this does nothing.

  Attributes:
    received: the first signal.
    directories: those of the runs that are written to and have not ended.
  """

  def __init__(self) -> None:
    self.received: int | None = None
    self.directories: list[Path] = []
    self._between_steps = False
    self._previous: dict[int, Any] = {}
    self._ends: list[int] = []  # of the pipe that wakes the thread
    self._previous_wakeup = -1

  def __enter__(self) -> Interrupts:
    if threading.current_thread() is threading.main_thread():
      reading, writing = self._ends = list(os.pipe())
      os.set_blocking(writing, False)
      for signum in SIGNALS:
        self._previous[signum] = signal.signal(signum, self._receive)
      self._previous_wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
      threading.Thread(
        target=self._acknowledge, args=(reading,), name="interrupts", daemon=True
      ).start()
    return self

  @contextlib.contextmanager
  def between_steps(self) -> Iterator[None]:
    """While active, the first signal is remembered for the end of the step."""
    self._between_steps = True
    try:
      yield
    finally:
      self._between_steps = False

  def interrupted(self, reason: str = "") -> Interrupted:
    """Returns the error for runs that are stopped at once, and records it in their directories."""
    where, again = "", "start"
    if self.directories:
      where, again = f"{self.directories[0]}: ", "resume"
    reason = reason or f"stopped before it {'could be saved' if where else 'began'}"
    signum = self.received or signal.SIGINT
    error = Interrupted(f"{where}{reason}; run the same command to {again}", signum)
    for directory in self.directories:
      record_interruption(directory, error)
    return error

  def _receive(self, signum: int, frame: FrameType | None) -> None:
    if self._between_steps and self.received is None:
      self.received = signum
    elif can_raise(frame):
      self.received = self.received or signum
      raise KeyboardInterrupt
    else:
      send_again(signum)

  def _acknowledge(self, reading: int) -> None:
    """Tells what a signal does, as soon as it comes; ends a process that does not end itself."""
    count = 0
    with os.fdopen(reading, "rb", buffering=0) as pipe:
      while (received := pipe.read(1)) not in (_END, b""):
        if received[0] not in SIGNALS or is_repeat():
          continue
        count += 1
        name = signal.Signals(received[0]).name
        if count == 1 and self._between_steps:
          tell(f"{name}: stopping after this step, saving the run; again to stop at once")
        elif count == 1:
          tell(f"{name}: stopping; again to stop at once")
        elif count == 2:
          tell(f"{name}: stopping at once")
          timer = threading.Timer(PATIENCE, self._give_up)
          timer.daemon = True
          timer.start()

  def _give_up(self) -> None:
    """Ends the process: the main thread is in compiled code that takes no notice."""
    interactive = hasattr(sys, "ps1")  # a notebook is to outlive its cell
    if self._ends and not interactive:
      os._exit(self.interrupted("stopped at once").exit_code)

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    ends, self._ends = self._ends, []
    if ends:
      signal.set_wakeup_fd(self._previous_wakeup, warn_on_full_buffer=False)
      for signum, handler in self._previous.items():
        signal.signal(signum, handler)
      os.write(ends[1], _END)
      os.close(ends[1])
    if isinstance(error, KeyboardInterrupt):
      raise self.interrupted() from None


@contextlib.contextmanager
def recorded(directory: Path, interrupts: Interrupts) -> Iterator[None]:
  """Records in a run's directory how the block ended, if it did not end well.

  Raises:
    RunError: a file of the directory cannot be read or written.
    Interrupted: the block was interrupted.
  """
  interrupts.directories.append(directory)
  try:
    yield
  except Interrupted:
    raise
  except KeyboardInterrupt:
    raise interrupts.interrupted() from None
  except BaseException as error:
    named = as_run_error(directory, error)
    record_failure(directory, named)
    if named is error:
      raise
    raise named from error
  finally:
    interrupts.directories.remove(directory)


def as_run_error(directory: Path, error: BaseException) -> BaseException:
  """Returns a RunError for an error of the system about a file of the directory, else the error."""
  inside = isinstance(error, OSError) and str(error.filename or "").startswith(str(directory))
  if isinstance(error, OSError) and (inside or error.errno in DISK):
    return RunError(f"{error.filename if inside else directory}: {error.strerror}")
  return error


def status_of(error: BaseException | None) -> str:
  """Returns the status of a run that ended with an error, or with none."""
  if error is None:
    return "done"
  if isinstance(error, (Interrupted, KeyboardInterrupt)):
    return "interrupted"
  return "diverged" if isinstance(error, DivergedError) else "failed"
