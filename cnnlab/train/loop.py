"""The one train loop: every task, every model, from the first step or from a checkpoint."""

from __future__ import annotations

import io
import itertools
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from cnnlab.errors import DivergedError
from cnnlab.runs.checkpoint import Checkpoints
from cnnlab.runs.directory import PER_EXAMPLE, RunDirectory
from cnnlab.runs.environment import record_environment
from cnnlab.runs.files import DISK, CannotWriteError, write_bytes
from cnnlab.runs.loggers import Loggers
from cnnlab.runs.pace import Ahead, Pace, Work
from cnnlab.tasks.base import flat_metrics, zeros_like_sums
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.evaluate import TRAINSET, Evaluation, Examples, Metrics, Progress
from cnnlab.train.init_from import refuse_bad_start, start_from
from cnnlab.train.interrupt import Interrupted, Interrupts, recorded, status_of
from cnnlab.train.parallel import steps_in_flight
from cnnlab.train.pictures import draw_predictions
from cnnlab.train.setup import Setup, prepare
from cnnlab.train.state import State

log = logging.getLogger(__name__)

OnRow = Callable[[dict[str, Any]], None]


def train(
  config: ConfigDict,
  workdir: str | Path,
  *,
  asked: Iterable[str] = (),
  progress: Progress | None = None,
  report: OnRow | None = None,
  pace: Pace | None = None,
) -> dict[str, Any]:
  """Trains to the end, starting from the run's newest checkpoint where it has one.

  Args:
    config: a page with overrides applied.
    workdir: the run's directory.
    asked: dotted keys that were overridden (each must be read by something).
    progress: called with (finished steps, total steps) after every step, or after every
      `steps_per_call` of them.
    report: called with every row of metrics.
    pace: tells at any time what the run does and how long it will take; see `cnnlab.runs.pace`.

  Returns:
    The last row of metrics.

  Raises:
    ConfigError, DataError, ShapeError: before anything is written.
    RunError: the directory belongs to another config or process.
    DivergedError: a loss or gradient that is not finite; the last good checkpoint is kept.
    Interrupted: SIGINT or SIGTERM came; once it trains, the run is saved.
  """
  pace = pace or Pace()
  with Interrupts() as interrupts:
    enable_compile_cache()
    pace.turn_to(Work.LOAD)
    setup = prepare(config, asked)
    try:
      loggers = Loggers(config.loggers)
      refuse_bad_start(setup, workdir)
      run = RunDirectory(workdir, setup.resolved)
      try:
        row = finished_row(run)
        if row is None:
          with recorded(run.path, interrupts):
            row = Session(setup, run, loggers, pace, progress, report).run_to_end(interrupts)
        return row
      finally:
        run.close()
    finally:
      setup.data.close()


def finished_row(run: RunDirectory) -> dict[str, Any] | None:
  """Returns the last row of a run that is done, None if it is not; tells of rows that it has lost.

  Raises:
    DivergedError: it has diverged.
  """
  status = run.read_status()
  if status.get("status") == "diverged":
    raise DivergedError(f"{run.path}: {status.get('reason')} (the same config would do so again)")
  row = status.get("metrics")
  if status.get("status") != "done" or not isinstance(row, dict):
    return None
  run.tell_of_lost_rows(status.get("logged"))
  return row


def ahead(setup: Setup) -> Ahead:
  """Returns how much work a run is."""
  trainset = setup.data.train.num_examples if setup.resolved["eval_trainset"] else 0
  evaluated, batch = setup.data.eval.num_examples, setup.resolved["batch_size"]
  return Ahead(setup.plan.total_steps, setup.plan.eval_every, batch, evaluated, trainset)


class Session:
  """One process's part of a run, from a checkpoint or the start to the end or an interruption."""

  def __init__(
    self,
    setup: Setup,
    run: RunDirectory,
    loggers: Loggers,
    pace: Pace,
    progress: Progress | None = None,
    report: OnRow | None = None,
  ):
    self.setup, self.run, self.plan = setup, run, setup.plan
    self.loggers, self.pace = loggers, pace
    self.progress = progress or (lambda step, total: None)
    self.report = report or (lambda row: None)
    program, parallel = setup.program, setup.parallel
    self.constants = parallel.put(setup.data.train.constants)
    self.step_fn = parallel.train(program)
    self.steps_fn = parallel.train_many(program)
    self.evaluate = Evaluation(setup, progress=self.pace.count)
    self.key = parallel.put(setup.key)
    self.best = program.task.best_by
    self.checkpoints = Checkpoints(run.path, keep=self.plan.checkpoint_keep, best=self.best)
    self.saved_step = -1
    self.row: dict[str, Any] = {}
    self.logged_step = 0
    self.seconds_before = 0.0  # spent by earlier sessions
    self.started = self.window_started = time.perf_counter()
    self.window_steps = 0

  def run_to_end(self, interrupts: Interrupts) -> dict[str, Any]:
    """Trains until the last step; returns the last row of metrics."""
    try:
      state, step = self._begin()
      try:
        self._compile(state, step)
        with interrupts.between_steps():
          self._finish(*self._train(state, step, interrupts))
        return self.row
      finally:
        self.loggers.finish(status_of(sys.exception()))
    except (CannotWriteError, OSError) as error:
      if isinstance(error, OSError) and error.errno not in DISK:
        raise
      raise self.checkpoints.write_error(f"to {self.run.path}", error) from error
    finally:
      self.checkpoints.close()

  def _train(self, state: State, step: int, interrupts: Interrupts) -> tuple[State, int]:
    """Trains from a step to the last one; returns the state and step at the end."""
    plan = self.plan
    self.pace.turn_to(Work.TRAIN)
    if step and self._hooks_missing(step):
      state = self._hooks(state, step)
    batches = self.setup.data.train.train_batches(step)
    running: deque[Array] = deque()
    ahead = steps_in_flight()
    while step < plan.total_steps:
      if interrupts.received is not None:
        self._stop(state, step, interrupts.received)
      count = plan.next_call(step)
      state, loss = self._call(state, batches, count)
      running.append(loss)
      if len(running) > ahead:
        running.popleft().block_until_ready()
      step, self.window_steps = step + count, self.window_steps + count
      self.pace.trained(count)
      state = self._hooks(state, step)
      self.progress(step, plan.total_steps)
    return state, step

  def _begin(self) -> tuple[State, int]:
    """Records that the run has started; returns the state that it starts from, and its step."""
    record_environment(self.run.path)
    self.run.set_status("running", total_steps=self.plan.total_steps)
    self.pace.turn_to(Work.INITIALIZE)
    state = self._restore_or_init()
    step = int(state.step)
    self.pace.begin(step, ahead(self.setup))
    self.loggers.start(self.setup.resolved, self.run.path, step)
    self.started = self.window_started = time.perf_counter()
    return state, step

  def _compile(self, state: State, step: int) -> None:
    """Compiles what the first call of the training needs, so that this is no part of a step."""
    if step == self.plan.total_steps:
      return
    self.pace.turn_to(Work.COMPILE)
    parallel, batch, count = self.setup.parallel, self.first_batch, self.plan.next_call(step)
    one = count == 1
    batches = parallel.put_batch(batch) if one else parallel.put_batches([batch] * count)
    call = self.step_fn if one else self.steps_fn
    call.lower(state, self.constants, batches, self.key).compile()
    self.window_started = time.perf_counter()

  def _finish(self, state: State, step: int) -> None:
    """Draws the task's pictures, and records that the run is done."""
    self.pace.turn_to(Work.FINISH)
    self.checkpoints.wait()
    draw_predictions(self.setup, state, self.run.path / "pictures")
    spent = {str(work): round(seconds, 3) for work, seconds in self.pace.all_spent().items()}
    self.run.set_status("done", step=step, seconds=self._seconds(), spent=spent, metrics=self.row)

  def _call(self, state: State, batches: Iterator[Any], count: int) -> tuple[State, Array]:
    """Starts the next `count` steps in one call; returns the state after them and their losses."""
    parallel = self.setup.parallel
    if count == 1:
      batch = parallel.put_batch(next(batches))
      return self.step_fn(state, self.constants, batch, self.key)
    group = parallel.put_batches(list(itertools.islice(batches, count)))
    return self.steps_fn(state, self.constants, group, self.key)

  def _restore_or_init(self) -> State:
    """Returns the newest good checkpoint's state, else a fresh one; drops rows written after it."""
    setup = self.setup
    self.first_batch = next(setup.data.train.train_batches(0))
    first = setup.parallel.put_batch(self.first_batch)
    init = setup.parallel.init(setup.program)
    template = setup.parallel.template(jax.eval_shape(init, self.constants, first, self.key))
    restored = self.checkpoints.restore_latest(template)
    step, state, about = restored or (0, init(self.constants, first, self.key), {})
    if setup.init_from and not restored:
      state = setup.parallel.put(start_from(setup.init_from, state, new_head=setup.new_head))
    if restored:
      log.info("resuming %s at step %d", self.run.path, step)
    elif lost := self.run.last_row().get("step"):
      log.warning(
        "%s has rows until step %d, but no checkpoint: starting again", self.run.path, lost
      )
    logged = about.get("logged", {})
    self.run.keep_until(step, logged)
    self.row = self.run.last_row()
    # Rows may have been lost since; what followed from them is in the state.
    self.logged_step = logged.get("metrics", {}).get("step", self.row.get("step"))
    self.seconds_before = self.run.seconds_spent()
    self.saved_step = step
    return state

  def _hooks_missing(self, step: int) -> bool:
    """Returns whether the run was interrupted between this step and the row that belongs to it."""
    due = self.plan.logs(step) or self.plan.evaluates(step)
    return due and self.logged_step != step

  def _hooks(self, state: State, step: int) -> State:
    """Logs, evaluates and saves where it is due after this step."""
    plan = self.plan
    due = (plan.logs(step), plan.evaluates(step), plan.saves(step))
    if not any(due):
      return state
    logs, evaluates, saves = due
    training = self._training_metrics(state, step)  # also checks that all is finite before a save
    row: dict[str, Any] = {}
    evaluation: dict[str, float | None] = {}
    speed = self.window_steps * self.setup.resolved["batch_size"] / self._window_seconds()
    if logs:
      row |= training
      state = state.replace(metrics=self.setup.parallel.put(zeros_like_sums(state.metrics)))
    if evaluates:
      with self.pace.during(Work.EVALUATE):
        evaluation = self._evaluate(state, step)
      row |= evaluation
      if step == plan.total_steps and self.setup.resolved["eval_trainset"]:
        with self.pace.during(Work.EVALUATE_TRAINSET):
          row |= Evaluation(self.setup, TRAINSET, self.pace.count)(state)
      state = self._plateau(state, evaluation)
    if row:
      self._write(step, row, speed)
    if saves:
      with self.pace.during(Work.SAVE):
        self._save(state, step, evaluation)
    self.window_started, self.window_steps = time.perf_counter(), 0
    return state

  def _window_seconds(self) -> float:
    return max(time.perf_counter() - self.window_started, 1e-9)

  def _evaluate(self, state: State, step: int) -> dict[str, float | None]:
    metrics, examples = self._measure(state, step == self.plan.total_steps)
    if examples:
      content = io.BytesIO()
      np.savez_compressed(content, **examples)  # type: ignore[arg-type]
      write_bytes(self.run.path / PER_EXAMPLE, content.getvalue())
    if not all(value is None or math.isfinite(value) for value in metrics.values()):
      raise DivergedError(
        f"at step {step} the evaluation gave {metrics}; the last good checkpoint is {self._last_saved()}"
      )
    return metrics

  def _measure(self, state: State, last: bool) -> tuple[Metrics, Examples]:
    """Returns the metrics of an evaluation; of the last one, also what is kept of each example."""
    return self.evaluate.with_examples(state) if last else (self.evaluate(state), {})

  def _training_metrics(self, state: State, step: int) -> dict[str, float | None]:
    """Returns the means over the steps since the last logged one.

    Raises:
      DivergedError: the loss or the gradient was not finite in one of them.
    """
    sums = {name: np.asarray(value) for name, value in jax.device_get(state.metrics).items()}
    steps, rate = float(sums.pop("steps")), float(sums.pop("learning_rate"))
    if not steps:
      return {}
    loss, norm = float(sums.pop("loss")) / steps, float(sums.pop("grad_norm")) / steps
    if not (math.isfinite(loss) and math.isfinite(norm)):
      raise DivergedError(
        f"at step {step} the training loss is {loss} and the gradient norm {norm} (learning rate {rate:.4g}); "
        f"the last good checkpoint is {self._last_saved()}"
      )
    train: dict[str, float | None] = {"loss": loss, "grad_norm": norm}
    task = self.setup.program.task
    if task.measures_training:
      train |= flat_metrics(task.summarize(sums))
      train.pop("count")
    return {"learning_rate": rate} | {f"train/{name}": value for name, value in train.items()}

  def _last_saved(self) -> str:
    self.checkpoints.wait()
    steps = self.checkpoints.steps()
    return f"step {steps[-1]}" if steps else "none"

  def _plateau(self, state: State, evaluation: dict[str, float | None]) -> State:
    plateau = self.setup.program.plateau
    if plateau is None:
      return state
    value = evaluation[self.best[0]]
    if value is None:
      return state
    updated = plateau.update(jax.device_get(state.plateau), value)
    return state.replace(plateau=self.setup.parallel.put(updated))

  def _write(self, step: int, row: dict[str, Any], images_per_second: float) -> None:
    """Appends the row, its timing and its events, and updates the status."""
    self.row = {"step": step, "epoch": round(step / self.plan.steps_per_epoch, 4)} | row
    timing = {
      "step": step,
      "seconds": round(self._seconds(), 3),
      "images_per_second": round(images_per_second, 2),
    }
    self.run.append("metrics", self.row)
    self.run.append("timing", timing)
    self.loggers.log(step, row)
    self.run.set_status("running", step=step, seconds=timing["seconds"])
    self.report(self.row | timing)

  def _seconds(self) -> float:
    return self.seconds_before + time.perf_counter() - self.started

  def _save(self, state: State, step: int, evaluation: dict[str, float | None]) -> None:
    if step == self.saved_step:
      return
    preprocess = self.setup.data.preprocess
    about = {
      "step": step,
      "config": self.setup.resolved,
      "metrics": {name: value for name, value in evaluation.items() if value is not None},
      "preprocess": preprocess.settings(),
      "logged": self.run.logged(),
    }
    self.checkpoints.save(step, state, about, preprocess.arrays())
    self.saved_step = step

  def _stop(self, state: State, step: int, signum: int) -> None:
    """Saves and stops.

    Raises:
      Interrupted: always.
    """
    self._save(state, step, {})
    self.checkpoints.wait()
    message = (
      f"stopped at step {step} of {self.plan.total_steps}, saved; run the same command to resume"
    )
    self.run.set_status("interrupted", reason=message, step=step, seconds=self._seconds())
    raise Interrupted(f"{self.run.path}: {message}", signum)
