"""A sweep on this machine: worker processes that share its cores or GPUs, under one progress bar.

A worker that dies costs its run the steps since the last checkpoint: the run is given to a
new one. Ctrl-C and SIGTERM have the runs saved; the same command then goes on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console

from cnnlab.errors import RunError
from cnnlab.lab.execute import EXECUTE_RUN
from cnnlab.lab.plan import RunSpec
from cnnlab.runs.directory import record_failure
from launch import worker as worker_module
from launch.display import SweepDisplay
from launch.hardware import Share, shares


@dataclass(frozen=True)
class Outcome:
  """What became of a run: its status, the reason where it is not done, its result in words."""

  name: str
  status: str
  reason: str = ""
  result: str = ""
  seconds: float = 0.0


@dataclass
class SweepResult:
  """What became of a sweep.

  Attributes:
    outcomes: by run, those that were executed now and those that were skipped.
    interrupted: a signal stopped it; the same command goes on.
  """

  outcomes: dict[str, Outcome] = field(default_factory=dict)
  interrupted: bool = False

  def named(self, *statuses: str) -> list[Outcome]:
    """Returns the outcomes of these statuses."""
    return [outcome for outcome in self.outcomes.values() if outcome.status in statuses]

  @property
  def exit_code(self) -> int:
    """0: every run is done; 130: interrupted; 1: some run failed, diverged or was refused."""
    if self.interrupted:
      return 130
    return 0 if len(self.named("done")) == len(self.outcomes) else 1


def run_sweep(
  specs: Sequence[RunSpec],
  execute: str = EXECUTE_RUN,
  *,
  workers: int | None = None,
  console: Console | None = None,
  logs: str | os.PathLike[str] | None = None,
  restarts: int = 2,
) -> SweepResult:
  """Executes every run that is to do, several at a time, and returns what became of all.

  Args:
    specs: the plan; runs that are done or diverged are skipped, those whose directory has
      another config are refused.
    execute: `module:function`, called in a worker as `execute(spec_dict, report)`; returns
      a dict with `status`, `reason` and `result`.
    workers: how many processes; None for one a GPU, or one a core.
    console: where the bar and a line for each finished run go.
    logs: a directory for what the runs print, a file each; None leaves it on the terminal.
    restarts: how often a run whose worker died is tried again.
  """
  console = console or Console()
  todo = [spec for spec in specs if spec.to_do]
  result = SweepResult({s.name: _skipped(s) for s in specs if not s.to_do})
  for outcome in result.named("refused"):
    console.print(f"[red]refused[/]  {outcome.name}: {outcome.reason}", highlight=False)
  if not todo:
    return result
  parts = shares(workers, len(todo))
  with SweepDisplay(console, len(specs), len(result.outcomes), len(parts)) as display:
    pool = _Pool(todo, execute, parts, logs, restarts, result, display)
    with _on_signals(pool.stop):
      pool.run()
  if result.interrupted:
    done = len(result.named("done"))
    console.print(
      f"[yellow]Stopped:[/] {done} of {len(specs)} runs are done, what the others had reached is "
      "saved. The same command goes on from here.",
      highlight=False,
    )
  return result


def _skipped(spec: RunSpec) -> Outcome:
  if spec.state == "other config":
    reason = f"{spec.directory} was made from another config; move it away or use another --root"
    return Outcome(spec.name, "refused", reason)
  reason = "another process trains it" if spec.state == "running" else ""
  return Outcome(spec.name, spec.state, reason)


@dataclass
class _Worker:
  process: Any
  connection: Connection
  share: Share
  spec: RunSpec | None = None
  began: float = 0.0
  signalled: bool = False


class _Pool:
  """The workers, the queue of runs, and what has become of them."""

  def __init__(
    self,
    todo: Sequence[RunSpec],
    execute: str,
    parts: Sequence[Share],
    logs: str | os.PathLike[str] | None,
    restarts: int,
    result: SweepResult,
    display: SweepDisplay,
  ):
    self._waiting = deque(todo)
    self._execute = execute
    self._logs = logs
    self._restarts = restarts
    self._deaths: dict[str, int] = {}
    self._result = result
    self._display = display
    self._context = multiprocessing.get_context("spawn")
    self._stops = 0
    self._workers = [self._start(share) for share in parts]

  def stop(self) -> None:
    """Asks for an end: the first time the runs are saved, the second time they are killed."""
    self._stops += 1

  def run(self) -> None:
    """Returns when every run has its outcome, or when all workers have stopped."""
    try:
      while self._waiting or any(w.spec for w in self._workers):
        if self._stops:
          self._pass_on_stop()
        self._assign()
        self._listen()
    finally:
      self._close()

  def _start(self, share: Share) -> _Worker:
    ours, theirs = self._context.Pipe()
    arguments = (theirs, self._execute, share)
    process = self._context.Process(target=worker_module.main, args=arguments)
    process.start()
    theirs.close()  # so that the worker's death closes the pipe
    return _Worker(process, ours, share)

  def _assign(self) -> None:
    for worker in self._workers:
      if not self._waiting:
        return
      if worker.spec is None:
        spec = self._waiting.popleft()
        worker.spec, worker.began = spec, time.monotonic()
        log = self._logs and str(Path(self._logs) / f"{spec.name.replace('/', '.')}.log")
        with contextlib.suppress(BrokenPipeError):  # it died idle: _listen sees that next
          worker.connection.send((spec.to_dict(), log))

  def _listen(self) -> None:
    """Takes in what the workers have said, waiting for a moment at most."""
    sources = {w.connection: w for w in self._workers} | {
      w.process.sentinel: w for w in self._workers
    }
    ready = {id(sources[source]): sources[source] for source in wait(list(sources), timeout=0.2)}
    for worker in ready.values():
      alive = worker.process.is_alive()
      try:
        while worker.connection.poll():
          self._hear(worker, worker.connection.recv())
      except (EOFError, OSError):
        alive = False
      if not alive:
        self._bury(worker)
    self._display.refresh()

  def _hear(self, worker: _Worker, message: tuple) -> None:
    if worker.spec is None:
      return
    if message[0] == "progress":
      self._display.progress(worker.spec.name, message[1], message[2])
    else:
      status, reason, result = (
        str(message[1].get(k) or "") for k in ("status", "reason", "result")
      )
      self._finish(worker, Outcome(worker.spec.name, status, reason, result))

  def _finish(self, worker: _Worker, outcome: Outcome) -> None:
    seconds = time.monotonic() - worker.began
    outcome = Outcome(outcome.name, outcome.status, outcome.reason, outcome.result, seconds)
    worker.spec = None
    self._result.outcomes[outcome.name] = outcome
    if outcome.status == "interrupted":
      self._result.interrupted = True
    self._display.finished(outcome.name, outcome.status, outcome.reason or outcome.result, seconds)

  def _bury(self, worker: _Worker) -> None:
    """Replaces a dead worker, and gives its run to the next one or records why not."""
    worker.process.join()
    worker.connection.close()
    self._workers.remove(worker)
    spec, code = worker.spec, worker.process.exitcode
    if spec is not None and self._stops:
      self._finish(worker, Outcome(spec.name, "interrupted", "stopped at once"))
    elif spec is not None:
      deaths = self._deaths[spec.name] = self._deaths.get(spec.name, 0) + 1
      how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
      if deaths <= self._restarts:
        self._display.note(f"the worker of {spec.name} died by {how}; its run goes on in a new one")
        self._waiting.appendleft(spec)
      else:
        reason = f"its worker died {deaths} times, the last time by {how}"
        record_failure(spec.directory, RunError(reason))
        self._finish(worker, Outcome(spec.name, "failed", reason))
    if not self._stops and self._waiting:
      self._workers.append(self._start(worker.share))

  def _pass_on_stop(self) -> None:
    self._result.interrupted = True
    for spec in self._waiting:
      self._result.outcomes[spec.name] = Outcome(
        spec.name, spec.state, "not started in this session"
      )
    self._waiting.clear()
    busy = [w for w in self._workers if w.spec]
    fresh = [w for w in busy if not w.signalled]
    if fresh:
      self._display.note(f"stopping: {len(busy)} runs are saved; once more stops at once")
    for worker in busy:
      if self._stops > 1:
        worker.process.kill()
      elif not worker.signalled:
        worker.signalled = True
        with contextlib.suppress(ProcessLookupError):
          os.kill(worker.process.pid, signal.SIGINT)

  def _close(self) -> None:
    for worker in self._workers:
      worker.connection.close()
    for worker in self._workers:
      worker.process.join(timeout=10)
      if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


@contextlib.contextmanager
def _on_signals(action: Any) -> Iterator[None]:
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
