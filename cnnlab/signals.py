"""Ctrl-C and SIGTERM at any moment: KeyboardInterrupt where Python keeps it, and where nothing breaks.

Python drops what is raised in a callback of the garbage collector or in a finalizer, and compiled
modules whose import is broken off fail later, or crash. A signal that comes then is sent again.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from types import FrameType

from cnnlab.errors import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SOON = 0.02  # seconds until a signal is sent again
_repeated = -math.inf  # when a signal was sent again last


def tell(text: str) -> None:
  """Writes a line to standard error at once: an answer to whoever sits at the terminal."""
  print(printable(text), file=sys.stderr, flush=True)


class Terminated(KeyboardInterrupt):
  """SIGTERM came."""


def raise_interrupt(signum: int, frame: FrameType | None) -> None:
  """Raises KeyboardInterrupt, or Terminated on SIGTERM: a handler; the signal may come again first."""
  if not can_raise(frame):
    if not is_repeat():
      with contextlib.suppress(RuntimeError):  # it came while something was being written
        tell(f"{signal.Signals(signum).name}: stopping")
    send_again(signum)
    return
  raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt


def can_raise(frame: FrameType | None) -> bool:
  """Returns whether an exception may be raised where a signal came: in no import, in no callback."""
  keep_interrupts()
  while frame is not None:
    name = frame.f_code.co_name
    if name == "_xla_gc_callback" or (name == "_find_and_load" and _of_import(frame)):
      return False
    frame = frame.f_back
  return True


def _of_import(frame: FrameType) -> bool:
  return frame.f_code.co_filename == "<frozen importlib._bootstrap>"


def send_again(signum: int) -> None:
  """Sends this process a signal again, soon."""
  timer = threading.Timer(_SOON, _send, (signum,))
  timer.daemon = True
  timer.start()


def _send(signum: int) -> None:
  global _repeated
  _repeated = time.monotonic()
  os.kill(os.getpid(), signum)


def is_repeat() -> bool:
  """Returns whether a signal that has just arrived was sent again, and is no new one."""
  return time.monotonic() - _repeated < 10 * _SOON


@functools.cache
def keep_interrupts() -> None:
  """From now on sends an interrupt again that was raised where Python drops it."""
  hook = sys.unraisablehook

  def unraisable(found: sys.UnraisableHookArgs) -> None:
    if issubclass(found.exc_type, KeyboardInterrupt):
      send_again(signal.SIGTERM if issubclass(found.exc_type, Terminated) else signal.SIGINT)
    else:
      hook(found)

  sys.unraisablehook = unraisable


@contextlib.contextmanager
def held_back(*more: signal.Signals) -> Iterator[None]:
  """Holds SIGINT, SIGTERM and more signals back; a process that is started inside begins so.

  Ctrl-C in the terminal reaches it, too, and would end it with a traceback.
  """
  # Its start would let the signals through again.
  resource_tracker.ensure_running()
  before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, *more))
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
