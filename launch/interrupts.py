"""Handling of Ctrl-C and SIGTERM by launchers and their workers."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker

from cnnlab.signals import SIGNALS, raise_interrupt


@contextlib.contextmanager
def on_signals(action: Callable[[], None]) -> Iterator[None]:
  """Calls `action` on SIGINT and SIGTERM inside the block, where this is the main thread."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {name: signal.signal(name, lambda *_: action()) for name in SIGNALS}
  try:
    yield
  finally:
    for name, handler in before.items():
      signal.signal(name, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
  """Makes SIGINT and SIGTERM raise KeyboardInterrupt inside the block; in the main thread."""
  before = {name: signal.getsignal(name) for name in SIGNALS}
  let_through()
  try:
    yield
  finally:
    for name, handler in before.items():
      signal.signal(name, handler)


@contextlib.contextmanager
def held_back(*more: signal.Signals) -> Iterator[None]:
  """Holds SIGINT, SIGTERM and more signals back; a process that is started inside begins so.

  Such a process calls `let_through` once it can handle them: until then, Ctrl-C in the terminal
  would end it with a traceback.
  """
  # Its start would let the signals through again.
  resource_tracker.ensure_running()
  before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, *more))
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
  """Makes SIGINT and SIGTERM raise KeyboardInterrupt, even if one was ignored, as under `nohup`."""
  for name in SIGNALS:
    signal.signal(name, raise_interrupt)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
