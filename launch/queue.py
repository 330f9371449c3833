"""The queue of runs, while other launchers may work on the same directories."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError
from cnnlab.lab.plan import DAMAGED, FINISHED, RunSpec, damage, run_state
from cnnlab.launch.display import SweepDisplay
from cnnlab.launch.outcome import Outcome, SweepResult
from cnnlab.runs.directory import record_failure
from cnnlab.runs.lease import owner
from cnnlab.runs.status import read_status

LOOK_EVERY = 1.0  # seconds between looks at the runs of others


class Queue:
  """The pending runs, those that other launchers train meanwhile, and the outcome of each.

  A run whose directory another live process holds is left to that process and checked regularly:
  its outcome is recorded when it ends, and it is queued again if its owner dies or leaves it.

  Args:
    specs: the pending runs.
    result: takes the outcomes.
    display: shows progress and notes.
    restarts: how often a run whose process died is tried again.
  """

  def __init__(
    self, specs: Sequence[RunSpec], result: SweepResult, display: SweepDisplay, restarts: int = 2
  ):
    self._waiting = deque(specs)
    self._elsewhere: list[RunSpec] = []
    self._result = result
    self._display = display
    self._restarts = restarts
    self._deaths: dict[str, int] = {}
    self._began: dict[str, float] = {}
    self._looked = 0.0

  @property
  def open(self) -> bool:
    """Whether a run still waits, here or for its end elsewhere."""
    return bool(self._waiting or self._elsewhere)

  def take(self) -> RunSpec | None:
    """Returns the next run that nobody trains, or None if there is none at the moment."""
    self._look()
    while self._waiting:
      spec = self._waiting.popleft()
      if self._to_do(spec):
        self._take(spec)
        return spec
    return None

  def take_among(self, names: Container[str], most: int) -> list[RunSpec]:
    """Returns further waiting runs that nobody trains, `most` at most, whose names are in `names`."""
    taken: list[RunSpec] = []
    for spec in list(self._waiting):
      if len(taken) < most and spec.name in names:
        self._waiting.remove(spec)
        if self._to_do(spec):
          self._take(spec)
          taken.append(spec)
    return taken

  def _take(self, spec: RunSpec) -> None:
    self._began[spec.name] = time.monotonic()
    self._display.started(spec.name)

  def end(self, spec: RunSpec, outcome: Mapping[str, Any]) -> None:
    """Records the outcome of a run that was taken: `status`, `reason` and `result`."""
    status, reason, result = (str(outcome.get(k) or "") for k in ("status", "reason", "result"))
    if status == "leased":
      self._leave(spec)
    else:
      self._finish(Outcome(spec.name, status, reason, result))

  def stopped(self, spec: RunSpec, reason: str) -> None:
    """Records the outcome of a run whose process ended without one, after a stop was requested."""
    state, why = _state(spec)
    if state in FINISHED:
      self._finish(Outcome(spec.name, state, why))
    else:
      reason = "not started in this session" if state == "absent" else reason
      self._finish(Outcome(spec.name, "interrupted", reason))

  def died(self, spec: RunSpec, what: str, how: str) -> None:
    """Queues a run whose process died again, or records that it died too often.

    Args:
      spec: the run.
      what: what died: 'worker', 'node' or 'job'.
      how: in words, such as 'signal 9 (SIGKILL)'.
    """
    deaths = self._deaths[spec.name] = self._deaths.get(spec.name, 0) + 1
    if deaths <= self._restarts:
      self._display.note(f"the {what} of {spec.name} died by {how}; the run resumes in a new one")
      self._waiting.appendleft(spec)
      return
    reason = f"its {what} died {deaths} times, the last time by {how}"
    record_failure(spec.directory, RunError(reason))
    self._finish(Outcome(spec.name, "failed", reason))

  def close(self) -> None:
    """Drops the runs that have not been taken, when the sweep is stopped."""
    self._result.interrupted = True
    for spec in self._waiting:
      outcome = Outcome(spec.name, spec.state, "not started in this session")
      self._result.outcomes[spec.name] = outcome
    for spec in self._elsewhere:
      self._result.outcomes[spec.name] = Outcome(spec.name, "running", "another process trains it")
    self._waiting.clear()
    self._elsewhere.clear()

  def show(self, specs: Iterable[RunSpec]) -> None:
    """Shows the progress of runs from their files, for launchers that do not report it."""
    for spec in specs:
      try:
        status = read_status(Path(spec.directory))
      except RunError:
        continue
      step, total = status.get("step") or 0, status.get("total_steps") or 0
      if isinstance(step, int) and isinstance(total, int) and total:
        self._display.progress(spec.name, step, total)

  def _to_do(self, spec: RunSpec) -> bool:
    """Checks a run again before it starts, since others may have trained it since the plan was made."""
    state, reason = _state(spec)
    if state in (*FINISHED, DAMAGED):
      result = "" if reason else "by another launcher"
      self._finish(Outcome(spec.name, state.replace(DAMAGED, "refused"), reason, result))
    elif state == "running":
      self._leave(spec)
    else:
      return True
    return False

  def _leave(self, spec: RunSpec) -> None:
    self._elsewhere.append(spec)
    self._display.note(
      f"{spec.name} is being trained by {owner(spec.directory)}; waiting for it to end"
    )

  def _look(self) -> None:
    now = time.monotonic()
    if not self._elsewhere or now - self._looked < LOOK_EVERY:
      return
    self._looked = now
    self.show(self._elsewhere)
    for spec in list(self._elsewhere):
      state, reason = _state(spec)
      if state == "running":
        continue
      self._elsewhere.remove(spec)
      if state in (*FINISHED, "failed", DAMAGED):
        status = state.replace(DAMAGED, "refused")
        self._finish(Outcome(spec.name, status, reason, "by another launcher"))
      else:
        self._display.note(f"{spec.name} has no owner any more; resuming it here")
        self._waiting.append(spec)

  def _finish(self, outcome: Outcome) -> None:
    began = self._began.pop(outcome.name, None)
    seconds = 0.0 if began is None else time.monotonic() - began
    outcome = Outcome(outcome.name, outcome.status, outcome.reason, outcome.result, seconds)
    self._result.outcomes[outcome.name] = outcome
    if outcome.status == "interrupted":
      self._result.interrupted = True
    self._display.finished(outcome.name, outcome.status, outcome.reason or outcome.result, seconds)


def _state(spec: RunSpec) -> tuple[str, str]:
  """Returns the state of a run by its directory, and the reason where it is not well."""
  directory = Path(spec.directory)
  state = run_state(directory)
  if state == DAMAGED:
    return state, f"damaged: {damage(directory)}"
  failed = state in ("failed", "diverged")
  return state, str(read_status(directory).get("reason") or "") if failed else ""
