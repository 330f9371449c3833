"""Errors of Orbax and TensorStore, which are many, long and loud: one short reason each."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from cnnlab.errors import RunError
from cnnlab.runs.files import DISK

T = TypeVar("T")

SETTLE = 0.2  # seconds that threads of a failed read may take to notice


def reason(error: BaseException) -> str:
  """Returns the system's message contained in an error, such as a full disk's, or a summary of it."""
  text = str(error)
  known = [os.strerror(code) for code in (*DISK, errno.EACCES)]
  return next((words for words in known if words in text), brief(error))


def brief(error: BaseException) -> str:
  """Returns the kind and the first line of an error."""
  lines = str(error).strip().splitlines()
  return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def quietly(read: Callable[[], T]) -> T:
  """Returns what is read; any error becomes a RunError, and the only one that is seen.

  Orbax and TensorStore print further ones, from their threads and when what they left is freed.
  """
  with _silence():
    try:
      return read()
    except Exception as error:  # whatever they or a checksum report, the checkpoint is damaged
      failure = RunError(str(error) if isinstance(error, RunError) else brief(error))
    gc.collect()
    time.sleep(SETTLE)
  raise failure


@contextlib.contextmanager
def _silence() -> Iterator[None]:
  hooks = sys.excepthook, sys.unraisablehook
  loggers = [logging.getLogger(name) for name in ("asyncio", "concurrent.futures")]
  sys.excepthook = lambda *_: None
  sys.unraisablehook = lambda _: None
  for logger in loggers:
    logger.disabled = True
  try:
    yield
  finally:
    sys.excepthook, sys.unraisablehook = hooks
    for logger in loggers:
      logger.disabled = False
