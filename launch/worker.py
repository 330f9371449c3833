"""A worker process of the local launcher: executes one run after the other, and reports by a pipe.

It imports nothing heavy before it has claimed its share of the machine.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from cnnlab.memory import keep_freed_memory
from launch.hardware import Share

REPORT_EVERY = 0.1  # seconds: more often, the bar would cost what it shows


def main(connection: Connection, execute: str, share: Share) -> None:
  """Executes what the connection brings until it closes.

  Args:
    connection: brings (spec as a dict, log file or None); takes ('progress', step, total) and
      ('outcome', dict).
    execute: `module:function` of `execute(spec, report) -> outcome`.
    share: the part of the machine that is this worker's.
  """
  leave_terminal()
  share.claim()
  keep_freed_memory()
  try:
    function = load(execute)
    while True:
      spec, log = connection.recv()
      redirect(log)
      outcome = execute_once(function, spec, _Reporter(connection))
      connection.send(("outcome", outcome))
  except (EOFError, BrokenPipeError, KeyboardInterrupt):
    return


def execute_once(
  function: Callable[..., Any], spec: dict[str, Any], report: Callable[[int, int], None]
) -> dict[str, Any]:
  """Executes a run unless it is finished or trained by another process; always returns an outcome.

  Args:
    function: `execute(spec, report) -> outcome`.
    spec: `RunSpec.to_dict()`.
    report: takes (step, total steps).
  """
  from cnnlab.lab.plan import FINISHED, run_state

  try:
    state = run_state(Path(spec["directory"]))
    if state in FINISHED:
      return {"status": state, "result": "by another launcher"}
    if state == "running":
      return {"status": "leased"}
    return dict(function(spec, report))
  except KeyboardInterrupt:
    return {"status": "interrupted", "reason": "interrupted"}
  except BaseException as error:
    traceback.print_exc()
    return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


class _Reporter:
  """Sends progress, rarely enough not to slow the training down."""

  def __init__(self, connection: Connection):
    self._connection = connection
    self._last = 0.0

  def __call__(self, step: int, total: int) -> None:
    now = time.monotonic()
    if now - self._last < REPORT_EVERY and step < total:
      return
    self._last = now
    self._connection.send(("progress", int(step), int(total)))


def load(dotted: str) -> Any:
  """Returns what `module:name` names."""
  module, _, name = dotted.partition(":")
  return getattr(importlib.import_module(module), name)


def log_file(logs: str | os.PathLike[str], run: str) -> Path:
  """Returns where a run's prints go."""
  return Path(logs) / f"{run.replace('/', '.')}.log"


def redirect(log: str | None) -> None:
  """Sends what the run prints, from compiled code as well, to its log: the terminal has the bar."""
  if log is None:
    return
  Path(log).parent.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
  sys.stdout.flush()
  sys.stderr.flush()
  os.dup2(descriptor, 1)
  os.dup2(descriptor, 2)
  os.close(descriptor)
  logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
  logging.getLogger("cnnlab").setLevel(logging.INFO)


def hear_interrupts() -> None:
  """Makes SIGINT raise KeyboardInterrupt, even if it was ignored at start, as under `nohup ... &`."""
  signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_terminal() -> None:
  """Detaches from the terminal; only the parent can stop it, and if the parent dies, the run is saved."""
  # A session of its own, so that Ctrl-C reaches the launcher alone, which passes it on once.
  os.setsid()
  hear_interrupts()
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def watch() -> None:
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGINT)

  threading.Thread(target=watch, daemon=True).start()
