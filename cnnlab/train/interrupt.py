"""Ctrl-C and SIGTERM: the step finishes, the run is saved, and the process ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from cnnlab.errors import CnnlabError


class Interrupted(CnnlabError):
  """A run was asked to stop, and is saved."""

  def __init__(self, message: str, signum: int):
    super().__init__(message)
    self.exit_code = 128 + signum


class Interrupts:
  """While active, remembers SIGINT and SIGTERM instead of dying of them; a second one acts at once.

  Signals reach the main thread only, so elsewhere this does nothing.
  """

  def __init__(self) -> None:
    self.received: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> Interrupts:
    if threading.current_thread() is threading.main_thread():
      for signum in (signal.SIGINT, signal.SIGTERM):
        self._previous[signum] = signal.signal(signum, self._remember)
    return self

  def _remember(self, signum: int, frame: FrameType | None) -> None:
    self.received = signum
    self._restore()

  def _restore(self) -> None:
    for signum, handler in self._previous.items():
      signal.signal(signum, handler)
    self._previous = {}

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._restore()
