"""The driver of launchers whose runs are elsewhere: it submits, polls, records and stops them.

A backend (Ray, SLURM) knows how to do these things with one run; what to do next is decided
here. Runs are written to a file system that this machine shares with those that train, so
that progress and results are read from the run directories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.console import Console

from cnnlab.lab.plan import RunSpec
from cnnlab.launch.display import SweepDisplay
from cnnlab.launch.interrupts import on_signals
from cnnlab.launch.outcome import SweepResult, closed
from cnnlab.launch.queue import Queue


class Ended(NamedTuple):
  """A run that has ended: its outcome, or where its process died, what died and how."""

  name: str
  outcome: Mapping[str, Any] | None = None
  what: str = ""
  how: str = ""


class Backend(Protocol):
  """What `drive` needs of a launcher.

  Attributes:
    title: a description of the workers, for the progress bar.
  """

  title: str

  def submit(self, specs: Sequence[RunSpec]) -> object:
    """Submits runs."""

  def wait(self, seconds: float) -> list[Ended]:
    """Returns the runs that have ended since the last call, after this time at most."""

  def stop(self, now: bool) -> None:
    """Saves and ends all runs; with `now`, ends them without saving."""


def drive(
  backend: Backend,
  specs: Sequence[RunSpec],
  opening: tuple[SweepResult, list[RunSpec]],
  console: Console,
  *,
  at_once: int | None = None,
  restarts: int = 2,
  look_every: float = 0.5,
) -> SweepResult:
  """Trains all pending runs, and returns the outcome of each.

  Args:
    backend: where they are trained.
    specs: the whole plan.
    opening: what `outcome.opened` returned for it.
    console: for the bar and the lines.
    at_once: how many runs are submitted at a time; None for all, so that the cluster decides.
    restarts: how often a run is tried again whose process or machine died.
    look_every: seconds between looks.
  """
  result, todo = opening
  with SweepDisplay(console, len(specs), len(result.outcomes), backend.title) as display:
    driver = _Driver(backend, Queue(todo, result, display, restarts), display, at_once, look_every)
    with on_signals(driver.stop):
      driver.run()
  return closed(specs, result, console)


class _Driver:
  """The submitted runs, and how often a stop was requested."""

  def __init__(
    self,
    backend: Backend,
    queue: Queue,
    display: SweepDisplay,
    at_once: int | None,
    look_every: float,
  ):
    self._backend = backend
    self._queue = queue
    self._display = display
    self._at_once = at_once
    self._look_every = look_every
    self._under_way: dict[str, RunSpec] = {}
    self._stops = self._stops_passed_on = 0

  def stop(self) -> None:
    """Requests a stop: the first time the runs are saved, the second time they are killed."""
    self._stops += 1

  def run(self) -> None:
    """Returns when every run has its outcome, or when all have stopped."""
    while self._queue.open or self._under_way:
      if self._stops > self._stops_passed_on:
        self._pass_on_stop()
      elif not self._stops:
        self._hand_over()
      for ended in self._backend.wait(self._look_every):
        self._take_in(ended)
      self._queue.show(self._under_way.values())
      self._display.refresh()

  def _hand_over(self) -> None:
    fresh: list[RunSpec] = []
    while self._at_once is None or len(self._under_way) + len(fresh) < self._at_once:
      spec = self._queue.take()
      if spec is None:
        break
      fresh.append(spec)
    if fresh:
      self._backend.submit(fresh)
      self._under_way |= {spec.name: spec for spec in fresh}

  def _take_in(self, ended: Ended) -> None:
    spec = self._under_way.pop(ended.name)
    if ended.outcome is None and self._stops:
      self._queue.stopped(spec, "stopped")
    elif ended.outcome is None:
      self._queue.died(spec, ended.what, ended.how)
    elif ended.outcome.get("status") == "interrupted" and not self._stops:
      self._queue.died(spec, "process", "a signal that did not come from here")
    elif ended.outcome.get("status") == "done" and not Path(spec.directory).is_dir():
      reason = (
        f"it was trained, but {spec.directory} is not on a file system shared with this machine"
      )
      self._queue.end(spec, {"status": "failed", "reason": reason})
    else:
      self._queue.end(spec, ended.outcome)

  def _pass_on_stop(self) -> None:
    self._stops_passed_on = self._stops
    self._queue.close()
    if self._under_way:
      self._display.note(
        f"stopping: saving {len(self._under_way)} runs; press Ctrl-C again to stop at once"
      )
    self._backend.stop(now=self._stops > 1)
