"""Several runs trained as one compiled program: `jax.vmap` of the train step over stacked states.

The runs differ in their seed and peak learning rate alone. They share the compiled program and the
data set on the device. Everything else is a run's own: weights, order of the data, augmentation,
dropout, directory, checkpoints, errors. A run gives the results that it gives alone, up to
rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cnnlab.errors import CnnlabError
from cnnlab.runs.directory import RunDirectory
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.evaluate import Metrics, split_metrics
from cnnlab.train.init_from import refuse_bad_start
from cnnlab.train.interrupt import Interrupted, Interrupts, recorded
from cnnlab.train.loop import Progress, train
from cnnlab.train.member import Member
from cnnlab.train.parallel import AXIS, Parallel, steps_in_flight
from cnnlab.train.schedules import create_schedule
from cnnlab.train.settings import Settings
from cnnlab.train.setup import Setup, prepare
from cnnlab.train.state import State
from cnnlab.train.step import Program, eval_step, evaluation_zeros, train_step

STEPS_AHEAD = 64  # indices of as many steps are made at a time for each run

Outcome = Exception | None


class Run(NamedTuple):
  """One run of a group: its config, its directory, and the config keys that were overridden."""

  config: ConfigDict
  directory: Path
  asked: tuple[str, ...] = ()


def train_together(runs: Sequence[Run], progress: Progress | None = None) -> list[Outcome]:
  """Trains runs that differ in `seed` and `optim.learning_rate` alone, as one compiled program.

  A run that diverges or fails ends alone; the others continue. Runs that resume from different
  steps first catch up: those at the oldest step are trained, together, to the step of the next
  ones, which then join them. Runs whose data are streamed to the device, or whose batch
  statistics are per device (`parallel='pmap'`), are trained one after the other.

  Args:
    runs: at least one.
    progress: called with (finished steps, total steps) of the run that is furthest behind.

  Returns:
    For each run the error that ended it, as `train` raises it, or None if it is done.
  """
  outcomes: list[Outcome] = [None] * len(runs)
  try:
    with Interrupts() as interrupts:
      enable_compile_cache()
      return _train(runs, outcomes, progress or (lambda step, total: None), interrupts)
  except Interrupted as error:  # before there was anything to save
    return [outcome or error for outcome in outcomes]


def _train(
  runs: Sequence[Run], outcomes: list[Outcome], progress: Progress, interrupts: Interrupts
) -> list[Outcome]:
  """Trains the runs as a group, if their data allow it, or one after the other."""
  with contextlib.ExitStack() as closing:
    setups: dict[int, Setup] = {}
    for index, run in enumerate(runs):
      try:
        setups[index] = setup = prepare(run.config, run.asked)
      except CnnlabError as error:
        outcomes[index] = error
        continue
      closing.callback(setup.data.close)
      if setup.data.placement != "device" or setup.parallel.mode != "jit":
        break
      _share(next(iter(setups.values())), setup)
    else:
      _train_group(runs, setups, outcomes, progress, interrupts)
      return outcomes
  return _one_after_the_other(runs, progress)


def _one_after_the_other(runs: Sequence[Run], progress: Progress) -> list[Outcome]:
  """Trains the runs alone; after an interruption the rest is not started."""
  outcomes: list[Outcome] = []
  for run in runs:
    try:
      train(run.config, run.directory, asked=run.asked, progress=progress)
      outcomes.append(None)
    except Interrupted as error:
      return outcomes + [error] * (len(runs) - len(outcomes))
    except Exception as error:
      outcomes.append(error)
  return outcomes


def _share(first: Setup, setup: Setup) -> None:
  """Makes a setup use the first one's data arrays, which are moved to the device."""
  for name in ("train", "eval"):
    shared = getattr(first.data, name)
    if setup is first:
      shared.constants = first.parallel.put(shared.constants)
    getattr(setup.data, name).constants = shared.constants


def _train_group(
  runs: Sequence[Run],
  setups: dict[int, Setup],
  outcomes: list[Outcome],
  progress: Progress,
  interrupts: Interrupts,
) -> None:
  """Trains the runs that could be set up, and fills in how each ended."""
  if not setups:
    return
  members: dict[int, Member] = {}
  parallel = _SharedInit.of(next(iter(setups.values())))
  try:
    for index, setup in setups.items():
      try:
        setup = dataclasses.replace(setup, parallel=parallel)
        members[index] = _open(setup, runs[index].directory, interrupts)
      except Exception as error:
        outcomes[index] = error
    for member in members.values():
      member.begin()
    if members:
      config = runs[next(iter(members))].config
      with interrupts.between_steps():
        _Group(list(members.values()), config, interrupts, progress).train()
  except BaseException as error:  # of the compiled program, or a signal: it concerns all
    if isinstance(error, KeyboardInterrupt):
      interrupts.directories = [member.run.path for member in members.values() if member.running]
      error = interrupts.interrupted()
    for member in members.values():
      member.fail(error)
    if not isinstance(error, Exception):
      raise
  for index, member in members.items():
    outcomes[index] = member.error


def _open(setup: Setup, directory: Path, interrupts: Interrupts) -> Member:
  refuse_bad_start(setup, directory)
  run = RunDirectory(directory, setup.resolved)
  try:
    with recorded(run.path, interrupts):
      return Member(setup, run)
  except BaseException:
    run.close()
    raise


class _SharedInit(Parallel):
  """A mesh whose runs share one compiled initialization, since their programs are equal."""

  shared: Callable | None = None

  @classmethod
  def of(cls, setup: Setup) -> _SharedInit:
    return cls(setup.parallel.mode, setup.resolved["batch_size"])

  def init(self, program: Program) -> Callable:
    self.shared = self.shared or super().init(program)
    return self.shared


class _Group:
  """The compiled program of a group, and the runs that it trains.

  Args:
    members: runs that have begun.
    config: of any of them.
    interrupts: signals that were received.
    progress: as of `train_together`.
  """

  def __init__(
    self, members: Sequence[Member], config: ConfigDict, interrupts: Interrupts, progress: Progress
  ):
    self.members, self.interrupts, self.progress = members, interrupts, progress
    setup = members[0].setup
    self.plan, self.parallel, self.program = setup.plan, setup.parallel, setup.program
    self.split = setup.data.eval
    self.constants = self.parallel.put(setup.data.train.constants)
    self.eval_constants = self.parallel.put(self.split.constants)
    warmup = setup.resolved["derived"]["warmup_steps"]
    make = functools.partial(
      create_schedule,
      Settings.read(config).schedule,
      total_steps=self.plan.total_steps,
      warmup_steps=warmup,
    )

    def step(state: State, constants: Any, batch: Any, key: Array, rate: Any) -> Any:
      program = dataclasses.replace(self.program, schedule=make(peak=rate))
      return train_step(program, state, constants, batch, key)

    compiled = functools.partial(jax.jit, out_shardings=self.parallel.replicated)
    evaluate = functools.partial(eval_step, self.program)
    steps = jax.vmap(step, in_axes=(0, None, 0, 0, 0))
    self.step = compiled(steps, donate_argnums=0)
    self.many_steps = compiled(
      lambda stack, constants, batches, *rest: jax.lax.scan(
        lambda stack, batch: steps(stack, constants, batch, *rest), stack, batches
      ),
      donate_argnums=0,
    )
    self.eval_step = compiled(jax.vmap(evaluate, in_axes=(0, None, None, 0)), donate_argnums=3)
    self.stack = compiled(lambda states: jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))
    self.take = compiled(lambda stack, i: jax.tree.map(lambda leaf: leaf[i], stack))
    self.put_back = compiled(
      lambda stack, state, i: jax.tree.map(lambda s, leaf: s.at[i].set(leaf), stack, state),
      donate_argnums=0,
    )

  def train(self) -> None:
    """Trains the runs to their ends or to an interruption."""
    while running := [member for member in self.members if member.running]:
      step = min(member.step for member in running)
      part = [member for member in running if member.step == step]
      ahead = [member.step for member in running if member.step > step]
      self._advance(part, step, min(ahead, default=self.plan.total_steps))
      for member in running:
        if member.running and member.step == self.plan.total_steps:
          member.finish()
        elif member.running and self.interrupts.received is not None:
          member.save_and_stop(self.interrupts.received)

  def _advance(self, part: Sequence[Member], step: int, until: int) -> None:
    """Trains runs that are at the same step up to the step `until`, or to an interruption."""
    stack = self.stack([member.state for member in part])
    for member in part:
      member.state = None
    keys = self.parallel.put(jnp.stack([member.setup.key for member in part]))
    rates = self.parallel.put(np.array([member.rate for member in part], np.float32))
    batches = [_ahead(member.setup.data.train.train_batches(step)) for member in part]
    missed = [member for member in part if member.missed_hooks()]
    stack = self._hooks(stack, step, part, missed) if missed else stack
    for member in part:
      member.begin_window()
    running: deque[Array] = deque()
    while step < until and self.interrupts.received is None:
      if not any(member.running for member in part):
        return
      count = self.plan.next_call(step)
      count = count if step + count <= until else 1
      call = self.step if count == 1 else self.many_steps
      stack, loss = call(stack, self.constants, self._batch(batches, count), keys, rates)
      running.append(loss)
      if len(running) > steps_in_flight():
        running.popleft().block_until_ready()
      step += count
      for member in part:
        member.window_steps += count
      stack = self._hooks(stack, step, part, part)
      self.progress(step, self.plan.total_steps)
    for index, member in enumerate(part):
      if member.running:
        member.step, member.state = step, self.take(stack, index)

  def _batch(self, batches: Sequence[Iterator[Any]], count: int) -> Any:
    """Returns the runs' next batches on the device: [runs, batch], or [count, runs, batch]."""
    stacked = [
      jax.tree.map(lambda *parts: np.stack(parts), *map(next, batches)) for _ in range(count)
    ]
    if count == 1:
      return jax.device_put(stacked[0], self._sharding(None, AXIS))
    whole = jax.tree.map(lambda *parts: np.stack(parts), *stacked)
    return jax.device_put(whole, self._sharding(None, None, AXIS))

  def _sharding(self, *axes: str | None) -> NamedSharding:
    return NamedSharding(self.parallel.mesh, PartitionSpec(*axes))

  def _hooks(self, stack: State, step: int, part: Sequence[Member], due: Sequence[Member]) -> State:
    """Logs, evaluates and saves the runs `due`, if the step asks for it; returns the new stack.

    The part of the stack of a run that has ended is trained on: the program stays as it is.
    """
    plan = self.plan
    if not (plan.logs(step) or plan.evaluates(step) or plan.saves(step)):
      return stack
    jax.block_until_ready(stack)
    began = time.perf_counter()
    metrics = self._evaluate(stack, len(part)) if plan.evaluates(step) else [{}] * len(part)
    for index, member in enumerate(part):
      if member not in due or not member.running:
        continue
      with member.on_its_own():
        state = self.take(stack, index)
        mine = functools.partial(metrics.__getitem__, index)
        new = member.hooks(state, step, mine, time.perf_counter() - began)
        if new is not state:
          stack = self.put_back(stack, new, index)
    for member in part:
      member.begin_window()
    return stack

  def _evaluate(self, stack: State, count: int) -> list[Metrics]:
    """Returns the metrics of each run on the evaluation split, as `evaluate` does for one."""
    task, sums = self.program.task, None
    accumulators = [task.accumulator() for _ in range(count)]
    for host_batch in self.split.eval_batches():
      batch = self.parallel.put_batch(host_batch)
      if sums is None:
        zeros = evaluation_zeros(self.program, self.take(stack, 0), self.eval_constants, batch)
        sums = self.stack([zeros] * count)
      sums, rows = self.eval_step(stack, self.eval_constants, batch, sums)
      if accumulators[0] is None:
        continue
      keep, host_rows = np.asarray(host_batch["mask"]), jax.device_get(rows["collected"])
      for index, accumulator in enumerate(accumulators):
        if accumulator is not None:
          accumulator.add({name: row[index][keep] for name, row in host_rows.items()})
    host_sums = jax.device_get(sums)
    return [
      split_metrics(
        task, self.split, jax.tree.map(lambda leaf, i=index: leaf[i], host_sums), accumulator
      )
      for index, accumulator in enumerate(accumulators)
    ]


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
  """Yields the batches, made several at a time: the order of an epoch is only kept for few seeds."""
  while True:
    yield from list(itertools.islice(batches, STEPS_AHEAD))
