"""A worker process of the local launcher: executes what it is sent, and reports through a pipe.

It imports nothing heavy before it has claimed its share of the machine.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from cnnlab.launch.hardware import Share
from cnnlab.launch.interrupts import let_through
from cnnlab.memory import keep_freed_memory

REPORT_EVERY = 0.1  # seconds: more often, the bar would cost what it shows


def main(connection: Connection, execute: str, share: Share) -> None:
  """Executes what the connection brings until it closes.

  Args:
    connection: brings (specs as dicts, log file or None), where several specs are trained together;
      takes ('progress', step, total) and ('outcomes', {name: dict}).
    execute: `module:function` of `execute(spec, report) -> outcome`; for several specs, the module
      also has `execute_together(specs, report) -> {name: outcome}`.
    share: the part of the machine that is this worker's.
  """
  try:
    leave_terminal()
    share.claim()
    keep_freed_memory()
    function = load(execute)
    while True:
      specs, log = connection.recv()
      redirect(log)
      report = _Reporter(connection)
      if len(specs) == 1:
        outcomes = {specs[0]["name"]: execute_once(function, specs[0], report)}
      else:
        module, _, _ = execute.partition(":")
        outcomes = execute_group(load(f"{module}:execute_together"), specs, report)
      connection.send(("outcomes", outcomes))
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
  try:
    return _elsewhere(spec) or dict(function(spec, report))
  except BaseException as error:
    return _failure(error)


def execute_group(
  function: Callable[..., Any],
  specs: Sequence[dict[str, Any]],
  report: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
  """Does the same with several runs that are trained together; returns each run's outcome by name.

  Args:
    function: `execute_together(specs, report) -> {name: outcome}`.
    specs: `RunSpec.to_dict()` of each run.
    report: takes (step, total steps).
  """
  outcomes: dict[str, dict[str, Any]] = {}
  try:
    outcomes = {spec["name"]: found for spec in specs if (found := _elsewhere(spec))}
    rest = [spec for spec in specs if spec["name"] not in outcomes]
    return outcomes | (function(rest, report) if rest else {})
  except BaseException as error:
    failure = _failure(error)
    return {spec["name"]: outcomes.get(spec["name"], failure) for spec in specs}


def _elsewhere(spec: dict[str, Any]) -> dict[str, Any] | None:
  """Returns the outcome of a run that is finished or trained by another process, else None."""
  from cnnlab.lab.plan import FINISHED, run_state

  state = run_state(Path(spec["directory"]))
  if state in FINISHED:
    return {"status": state, "result": "by another launcher"}
  return {"status": "leased"} if state == "running" else None


def _failure(error: BaseException) -> dict[str, Any]:
  """Returns the outcome of runs that this error ended, and prints it."""
  if isinstance(error, KeyboardInterrupt):
    return {"status": "interrupted", "reason": "interrupted"}
  traceback.print_exception(error)
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
    with contextlib.suppress(OSError):  # the launcher is gone: `leave_terminal` has the run saved
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
  from cnnlab.terminal import log_to_stderr

  Path(log).parent.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
  sys.stdout.flush()
  sys.stderr.flush()
  os.dup2(descriptor, 1)
  os.dup2(descriptor, 2)
  os.close(descriptor)
  log_to_stderr()


def leave_terminal() -> None:
  """Detaches from the terminal; only the parent can stop it, and if the parent dies, the run is saved."""
  # A session of its own, so that Ctrl-C reaches the launcher alone, which passes it on once.
  os.setsid()
  let_through()
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def watch() -> None:
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGINT)

  threading.Thread(target=watch, daemon=True).start()
