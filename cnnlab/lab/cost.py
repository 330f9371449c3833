"""Estimates what a sweep will cost before it starts: multiply-adds, and time as measured here."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cnnlab.cache_root import processor
from cnnlab.config import to_plain
from cnnlab.data.cache import cached, stored
from cnnlab.errors import RunError
from cnnlab.lab.plan import RunSpec, resolve
from cnnlab.lab.report import wording
from cnnlab.lab.wiring import Examined
from cnnlab.runs.directory import read_json
from cnnlab.runs.loading import Run, find_runs
from cnnlab.terminal import log_to_stderr
from cnnlab.types import JsonMapping

TRAINING_FACTOR = 3  # a training step costs about three forward passes: the gradients cost two more
TIMED_SECONDS = 1.0  # of training steps, to measure a rate


class Rate(NamedTuple):
  """How fast this machine trains: multiply-adds per second, and the seconds before a run's steps.

  Attributes:
    multiply_adds: per second of one worker.
    overhead: seconds that each run takes to start and to compile.
    source: how it was measured, in words.
  """

  multiply_adds: float
  overhead: float
  source: str


class CostEstimate(NamedTuple):
  """The cost of the runs that a sweep still has to train.

  Attributes:
    runs: number of runs.
    multiply_adds: total over these runs: training, forward and backward, and evaluations.
    rate: of one worker.
    workers: number of runs trained at the same time.
  """

  runs: int
  multiply_adds: float
  rate: Rate
  workers: int

  @property
  def seconds(self) -> float:
    """Wall-clock time."""
    one_by_one = self.multiply_adds / self.rate.multiply_adds + self.runs * self.rate.overhead
    return one_by_one / self.workers

  def __str__(self) -> str:
    at_a_time = f"{self.workers} run{'s' * (self.workers > 1)} at a time"
    return (
      f"cost: {wording.count(self.multiply_adds)} multiply-adds for {self.runs} runs, about "
      f"{wording.duration(self.seconds)} with {at_a_time} at "
      f"{wording.count(self.rate.multiply_adds)}/s each and {self.rate.overhead:.1f} s to start "
      f"({self.rate.source})"
    )


def estimate_cost(
  parts: Iterable[tuple[Sequence[RunSpec], Sequence[Examined]]], rate: Rate, workers: int
) -> CostEstimate:
  """Returns the cost of the runs that are not finished.

  Args:
    parts: plans whose runs cost what was examined of their variants; a variant with an error counts
      as zero.
    rate: of one worker.
    workers: number of runs trained at the same time.
  """
  runs, total = 0, 0.0
  for specs, examined in parts:
    per_run = {
      one.label: one.multiply_adds * (TRAINING_FACTOR * one.images + one.eval_images)
      for one in examined
    }
    todo = [spec for spec in specs if spec.to_do]
    runs += len(todo)
    total += sum(per_run.get(spec.label, 0) for spec in todo)
  return CostEstimate(runs, total, rate, max(1, min(workers, runs)))


def scaled(
  examined: Iterable[Examined], specs: Sequence[RunSpec], tuning: Sequence[RunSpec]
) -> list[Examined]:
  """Returns what the tuning runs of variants cost, from what their other runs cost."""
  whole = {spec.label: spec for spec in specs}
  first = {spec.label: spec for spec in tuning}
  found = []
  for one in examined:
    if one.label in first:
      config = resolve(first[one.label])
      share = config.epochs / (resolve(whole[one.label]).epochs or config.epochs)
      images = int(one.images * share * (1 - config.data.validation))
      found.append(one._replace(images=images, eval_images=int(one.eval_images * share)))
  return found


def rate_of_runs(root: Path) -> Rate | None:
  """Returns the median rate of the finished runs of a sweep; None if there is none.

  Args:
    root: the sweep's directory.
  """
  rates, overheads = [], []
  for directory in find_runs(root) if root.is_dir() else []:
    try:
      run = Run(directory)
      config, timing = read_json(directory / "config.json"), run.timing
      cost, steps = config.get("derived", {}).get("multiply_adds"), run.status.get("step")
      if not cost or not steps or "images_per_second" not in timing:
        continue
      speed = float(timing["images_per_second"].median())
      batch = config["batch_size"]
    except (RunError, KeyError):
      continue  # a damaged run tells nothing
    rates.append(TRAINING_FACTOR * cost * speed)
    overheads.append(max(0.0, float(run.status.get("seconds") or 0.0) - steps * batch / speed))
  if not rates:
    return None
  median = pd.DataFrame({"rate": rates, "overhead": overheads}).median()
  return Rate(
    float(median["rate"]), float(median["overhead"]), f"measured in {len(rates)} runs of this sweep"
  )


def remembered(spec: RunSpec, cores: int) -> Rate | None:
  """Returns the rate that `measure` has found on this machine for the same run; does not import JAX.

  Args:
    spec: the run.
    cores: of a worker.
  """
  entry = stored(_key(spec.to_dict(), cores))
  return None if entry is None else Rate(**entry[1])


def measure(spec: JsonMapping, cores: int) -> Rate:
  """Returns the rate at which this process trains a run; it is timed for a second, and remembered.

  Args:
    spec: `RunSpec.to_dict()`.
    cores: that this process may use.

  Raises:
    ConfigError, DataError, ShapeError: the run cannot be set up.
  """
  return Rate(**cached(_key(spec, cores), lambda: ({}, _measure(spec)._asdict()))[1])


def _key(spec: JsonMapping, cores: int) -> list[object]:
  machine = [platform.node(), processor(), cores, os.environ.get("CUDA_VISIBLE_DEVICES")]
  return ["rate", to_plain(resolve(spec)), *machine, version("jax"), version("cnnlab")]


def _measure(spec: JsonMapping) -> Rate:
  """Returns the rate of this process.

  Args:
    spec: `RunSpec.to_dict()`.

  Raises:
    ConfigError, DataError, ShapeError: the run cannot be set up.
  """
  import jax

  from cnnlab.train.compile_cache import enable_compile_cache
  from cnnlab.train.setup import prepare

  log_to_stderr()
  enable_compile_cache()
  began = time.perf_counter()
  setup = prepare(resolve(spec), spec["overrides"])
  try:
    parallel, program, split = setup.parallel, setup.program, setup.data.train
    constants, key = parallel.put(split.constants), parallel.put(setup.key)
    batches = split.train_batches(0)
    first = parallel.put_batch(next(batches))
    state = parallel.init(program)(constants, first, key)
    step = parallel.train(program)
    state, loss = step(state, constants, first, key)
    jax.block_until_ready(loss)
    overhead, steps = time.perf_counter() - began, 0
    began = time.perf_counter()
    while time.perf_counter() - began < TIMED_SECONDS:
      state, loss = step(state, constants, parallel.put_batch(next(batches)), key)
      jax.block_until_ready(loss)
      steps += 1
    seconds = (time.perf_counter() - began) / steps
  finally:
    setup.data.close()
  cost = TRAINING_FACTOR * _multiply_adds(setup.resolved) * setup.resolved["batch_size"]
  return Rate(cost / seconds, overhead, f"timed here with {spec['label']!r}")


def _multiply_adds(resolved: Mapping[str, dict]) -> int:
  return max(1, resolved["derived"]["multiply_adds"])
