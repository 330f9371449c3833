"""One run of a group that is trained as one compiled program: its directory, logs and checkpoints."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from cnnlab.runs.directory import RunDirectory, record_failure
from cnnlab.runs.files import DISK, CannotWriteError
from cnnlab.runs.loggers import Loggers
from cnnlab.runs.pace import Pace
from cnnlab.train.evaluate import Examples, Metrics
from cnnlab.train.interrupt import Interrupted, as_run_error, status_of
from cnnlab.train.loop import Session, finished_row
from cnnlab.train.setup import Setup
from cnnlab.train.state import State


class Member(Session):
  """One run of a group: restored, logged, saved and ended as if it were alone.

  Attributes:
    step, state: where it stands; while the group trains it, the state is in the stack.
    running: whether it is to be trained further.
    error: what ended it before it was done.
  """

  state: State | None

  def __init__(self, setup: Setup, run: RunDirectory):
    self._closing = contextlib.ExitStack()
    self._closing.callback(run.close)
    super().__init__(setup, run, Loggers(setup.resolved["loggers"]), Pace())
    self._closing.callback(self.checkpoints.close)
    self.step, self.state = 0, None
    self.running = True
    self.error: Exception | None = None
    self.rate = float(setup.resolved["derived"]["learning_rate"])

  @contextlib.contextmanager
  def on_its_own(self) -> Iterator[None]:
    """Ends this run alone if an error is raised inside the block."""
    try:
      yield
    except Exception as error:
      self.fail(error)

  def begin(self) -> None:
    """Restores or initializes the run, unless it is finished."""
    with self.on_its_own():
      if finished_row(self.run) is not None:
        self._end()
        return
      self.state, self.step = self._begin()
      self._closing.callback(lambda: self.loggers.finish(status_of(self.error)))

  def begin_window(self) -> None:
    """Starts the clock of the next row's images per second."""
    self.window_started, self.window_steps = time.perf_counter(), 0

  def missed_hooks(self) -> bool:
    """Returns whether the run was interrupted between its step and the row that belongs to it."""
    return bool(self.step) and self._hooks_missing(self.step)

  def hooks(self, state: State, step: int, metrics: Callable[[], Metrics], waited: float) -> State:
    """Logs, evaluates and saves what is due.

    Args:
      state, step: the run's.
      metrics: returns the metrics of its evaluation.
      waited: seconds since the step that went into the other runs.
    """
    self._metrics = metrics
    self.window_started += waited
    return self._hooks(state, step)

  def _measure(self, state: State, last: bool) -> tuple[Metrics, Examples]:
    """Returns the metrics that the group has measured; what is kept of each example is measured here."""
    return self._metrics(), self.evaluate.with_examples(state)[1] if last else {}

  def save_and_stop(self, signum: int) -> None:
    """Saves the run at its step, and ends it as interrupted."""
    with self.on_its_own():
      self._stop(self._own_state(), self.step, signum)

  def finish(self) -> None:
    """Ends the run as done."""
    with self.on_its_own():
      self._finish(self._own_state(), self.step)
      self._end()

  def fail(self, error: BaseException) -> None:
    """Ends the run by an error, which is recorded in its directory."""
    if not self.running:
      return
    full = isinstance(error, OSError) and error.errno in DISK
    if full or isinstance(error, CannotWriteError):
      assert isinstance(error, Exception)
      error = self.checkpoints.write_error(f"to {self.run.path}", error)
    error = as_run_error(self.run.path, error)
    self.error = error if isinstance(error, Exception) else None
    if not isinstance(error, Interrupted):
      record_failure(self.run.path, error)
    self._end()

  def _own_state(self) -> State:
    assert self.state is not None, "the state is in the stack of the group"
    return self.state

  def _end(self) -> None:
    self.running, self.state = False, None
    self._closing.close()
