"""A sweep on this machine: worker processes that share its cores or GPUs, under one progress bar.

If a worker dies, its run resumes from the last checkpoint in a new worker. On Ctrl-C and SIGTERM
the runs are saved; run the same command to resume.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from rich.console import Console

from cnnlab.lab.execute import EXECUTE_RUN
from cnnlab.lab.plan import RunSpec, groups
from cnnlab.launch import worker as worker_module
from cnnlab.launch.display import SweepDisplay
from cnnlab.launch.hardware import Share, shares, usable_cores, usable_gpus
from cnnlab.launch.interrupts import held_back, on_signals
from cnnlab.launch.outcome import SweepResult, closed, opened
from cnnlab.launch.queue import Queue
from cnnlab.launch.settings import check_workers, read_settings
from cnnlab.launch.worker import log_file
from cnnlab.terminal import SafeConsole

# together: the most runs that a worker trains as one compiled program.
SETTINGS = {"together": 1}
LIMITS = {"together": (1, 10_000)}
_PER_CORE = 8  # workers on a core or GPU: beyond, they wait for each other, or for memory


def check(settings: Mapping[str, str] | None, workers: int | None) -> dict[str, Any]:
  """Returns the settings, each of its type.

  Raises:
    ConfigError: an unknown setting, a value that cannot be used, or too many workers.
  """
  check_workers(workers, _PER_CORE * max(len(usable_cores()), len(usable_gpus())))
  return read_settings("local", settings, SETTINGS, LIMITS)


def run_sweep(
  specs: Sequence[RunSpec],
  execute: str = EXECUTE_RUN,
  *,
  workers: int | None = None,
  console: Console | None = None,
  logs: str | os.PathLike[str] | None = None,
  restarts: int = 2,
  settings: Mapping[str, str] | None = None,
  together: int = 1,
) -> SweepResult:
  """Executes all pending runs, several at a time, and returns the outcome of each.

  Args:
    specs: the plan; runs that are done or diverged are skipped, those whose directory has
      another config are refused, and those that another launcher trains are left to it.
    execute: `module:function`, called in a worker as `execute(spec_dict, report)`; returns
      a dict with `status`, `reason` and `result`.
    workers: how many processes; None for one a GPU, or one a core.
    console: where the bar and a line for each finished run go.
    logs: a directory for what the runs print, a file each; None leaves it on the terminal.
    restarts: how often a run whose worker died is tried again.
    settings: may hold `together` as text, which replaces the argument.
    together: the most runs that a worker trains as one compiled program; see
      `cnnlab.lab.plan.groups`. For these the worker calls `execute_together(spec_dicts, report)`
      of the same module, which returns {name: dict}. Their prints go to the log of the first.

  Raises:
    ConfigError: an unknown setting, or a value that cannot be used; nothing was started.
  """
  together = check({"together": str(together)} | dict(settings or {}), workers)["together"]
  console = console or SafeConsole()
  result, todo = opened(specs, console)
  if not todo:
    return result
  sharing = _sharing(todo, together, console)
  # As many cores each as if no run were done: the last digits of a result depend on them.
  parts = shares(workers, -(-len(specs) // together))
  parts = parts[: sum(-(-len(group) // together) for group in sharing)]
  title = f"{len(parts)} worker{'s' if len(parts) > 1 else ''}"
  with SweepDisplay(console, len(specs), len(result.outcomes), title) as display:
    queue = Queue(todo, result, display, restarts)
    pool = _Pool(queue, execute, logs, display, together, sharing)
    with on_signals(pool.stop):
      pool.run(parts)
  return closed(specs, result, console)


def _sharing(todo: Sequence[RunSpec], together: int, console: Console) -> list[frozenset[str]]:
  """Returns the names of the runs in groups that may share a program; prints which are alone."""
  if together == 1:
    return [frozenset([spec.name]) for spec in todo]
  found, alone = groups(todo)
  for reason in dict.fromkeys(alone.values()):
    names = ", ".join(name for name in alone if alone[name] == reason)
    console.print(f"trained alone: {names}: {reason}", markup=False, highlight=False)
  return [frozenset(spec.name for spec in group) for group in found]


@dataclass
class _Worker:
  process: Any
  connection: Connection
  share: Share
  specs: list[RunSpec] = field(default_factory=list)  # empty: it is idle
  signalled: bool = False


class _Pool:
  """The worker processes, and which runs each of them has."""

  def __init__(
    self,
    queue: Queue,
    execute: str,
    logs: str | os.PathLike[str] | None,
    display: SweepDisplay,
    together: int,
    sharing: Sequence[frozenset[str]],
  ):
    self._queue = queue
    self._execute = execute
    self._logs = logs
    self._display = display
    self._together = together
    self._sharing = {name: group for group in sharing for name in group}
    self._context = multiprocessing.get_context("spawn")
    self._stops = 0
    self._workers: list[_Worker] = []

  def stop(self) -> None:
    """Requests a stop: the first time the runs are saved, the second time they are killed."""
    self._stops += 1

  def run(self, parts: Sequence[Share]) -> None:
    """Starts a worker a share; returns when every run has its outcome, or all have stopped."""
    try:
      self._workers += [self._start(share) for share in parts]
      while self._queue.open or any(w.specs for w in self._workers):
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
    with held_back():
      process.start()
    theirs.close()  # so that the worker's death closes the pipe
    return _Worker(process, ours, share)

  def _assign(self) -> None:
    for worker in self._workers:
      if not worker.specs:
        spec = self._queue.take()
        if spec is None:
          return
        others = self._queue.take_among(self._sharing[spec.name], self._together - 1)
        worker.specs = [spec, *others]
        log = self._logs and str(log_file(self._logs, spec.name))
        with contextlib.suppress(BrokenPipeError):  # it died idle: _listen sees that next
          worker.connection.send(([one.to_dict() for one in worker.specs], log))

  def _listen(self) -> None:
    """Handles the workers' messages, waiting briefly for them."""
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
    if message[0] == "progress":
      for spec in worker.specs:
        self._display.progress(spec.name, message[1], message[2])
    else:
      specs, worker.specs = worker.specs, []
      for spec in specs:
        self._queue.end(spec, message[1][spec.name])

  def _bury(self, worker: _Worker) -> None:
    """Replaces a dead worker and queues its runs again."""
    worker.process.join()
    worker.connection.close()
    self._workers.remove(worker)
    code = worker.process.exitcode
    for spec in reversed(worker.specs):  # `died` puts each before those that wait
      if self._stops:
        self._queue.stopped(spec, "stopped at once")
      else:
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        self._queue.died(spec, "worker", how)
    if not self._stops and self._queue.open:
      self._workers.append(self._start(worker.share))

  def _pass_on_stop(self) -> None:
    self._queue.close()
    busy = [w for w in self._workers if w.specs]
    fresh = [w for w in busy if not w.signalled]
    if fresh:
      self._display.note(
        f"stopping: saving {sum(len(w.specs) for w in busy)} runs; press Ctrl-C again to stop at once"
      )
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
