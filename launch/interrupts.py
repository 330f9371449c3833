"""Handling of Ctrl-C and SIGTERM by launchers."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_signals(action: Callable[[], None]) -> Iterator[None]:
  """Calls `action` on SIGINT and SIGTERM inside the block, where this is the main thread."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  names = (signal.SIGINT, signal.SIGTERM)
  before = {name: signal.signal(name, lambda *_: action()) for name in names}
  try:
    yield
  finally:
    for name, handler in before.items():
      signal.signal(name, handler)
