"""Errors of Orbax and TensorStore, which are many, long and loud: one short reason each."""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from cnnlab.errors import RunError
from cnnlab.runs.files import DISK

T = TypeVar("T")


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
  """Returns what is read; any error becomes a RunError, and the only one that is seen."""
  hush_echoes()
  try:
    return read()
  except Exception as error:  # whatever they or a checksum report, the checkpoint is damaged
    failure = RunError(str(error) if isinstance(error, RunError) else brief(error))
  raise failure


@functools.cache
def hush_echoes() -> None:
  """Keeps from standard error what their threads and coroutines say beside the error they raise.

  Of a read or write that fails, all others that were under way print a traceback each, at any
  time until they are freed, through the interpreter's hooks and the loggers of asyncio.
  """
  hook, unraisable_hook = sys.excepthook, sys.unraisablehook

  def excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
  ) -> None:
    if threading.current_thread() is threading.main_thread() or not _is_echo(error):
      hook(kind, error, trace)

  def unraisablehook(found: sys.UnraisableHookArgs) -> None:
    if not (found.exc_value and _is_echo(found.exc_value)):
      unraisable_hook(found)

  sys.excepthook, sys.unraisablehook = excepthook, unraisablehook
  # Checkpoints of single items have no such file, and need none.
  logging.getLogger("absl").addFilter(
    lambda record: not record.getMessage().startswith("Metadata file does not exist")
  )
  for name in ("asyncio", "concurrent.futures"):
    logging.getLogger(name).addFilter(
      lambda record: not (record.exc_info and record.exc_info[1] and _is_echo(record.exc_info[1]))
    )


def _is_echo(error: BaseException) -> bool:
  text = str(error)
  late = isinstance(error, RuntimeError) and text == "Event loop is closed"
  files = (frame.filename for frame in traceback.extract_tb(error.__traceback__))
  return (
    late
    or any(name in text for name in ("TensorStore", "OCDBT", '"zarr" driver'))
    or any("orbax" in file or "tensorstore" in file for file in files)
  )
