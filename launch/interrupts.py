"""Handling of Ctrl-C and SIGTERM by launchers and their workers."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from cnnlab.signals import SIGNALS, held_back, raise_interrupt

__all__ = ["held_back", "interruptible", "let_through", "on_signals"]


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


def let_through() -> None:
  """Makes SIGINT and SIGTERM raise KeyboardInterrupt, even if one was ignored, as under `nohup`."""
  for name in SIGNALS:
    signal.signal(name, raise_interrupt)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
