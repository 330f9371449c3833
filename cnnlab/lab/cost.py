"""Estimates what a sweep will cost before it starts: multiply-adds, and time as measured here."""

from __future__ import annotations

import heapq
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pandas as pd

from cnnlab.cache_root import processor
from cnnlab.config import to_plain
from cnnlab.data.cache import cached, stored
from cnnlab.errors import RunError
from cnnlab.lab.plan import RunSpec, resolve
from cnnlab.lab.report import wording
from cnnlab.lab.wiring import Examined, check_settings
from cnnlab.runs.directory import read_json
from cnnlab.runs.loading import Run, find_runs
from cnnlab.runs.pace import TRAINING_FACTOR
from cnnlab.terminal import log_to_stderr
from cnnlab.types import JsonMapping

if TYPE_CHECKING:
  from cnnlab.train.setup import Setup
  from cnnlab.train.state import State

T = TypeVar("T")
TIMED_SECONDS = 1.0  # of training steps, to measure a rate
EVALUATED_SECONDS = 0.3  # of evaluation steps


class Rate(NamedTuple):
  """How fast one worker of this machine is.

  Attributes:
    multiply_adds: per second of training.
    overhead: seconds of each run besides its steps: data, network, compiled programs from the cache.
    source: how it was measured, in words.
    evaluated: multiply-adds per second of evaluation; infinite where the overhead includes it.
    compile: seconds more for the first run of a variant whose programs are not in the cache.
    start: seconds until a new worker begins its first run.
  """

  multiply_adds: float
  overhead: float
  source: str
  evaluated: float = math.inf
  compile: float = 0.0
  start: float = 0.0


class CostEstimate(NamedTuple):
  """The cost of the runs that a sweep still has to train.

  Attributes:
    runs: number of runs.
    multiply_adds: total over these runs: training, forward and backward, and evaluations.
    seconds: wall-clock time, the start of the workers included.
    rate: of one worker.
    workers: number of runs trained at the same time.
  """

  runs: int
  multiply_adds: float
  seconds: float
  rate: Rate
  workers: int

  def __str__(self) -> str:
    rate = self.rate
    at_a_time = f"{self.workers} run{'s' * (self.workers > 1)} at a time"
    parts = [
      f"{wording.count(rate.multiply_adds)} multiply-adds/s",
      f"{rate.overhead:.1f} s a run to set up",
      *([f"{rate.compile:.1f} s a variant to compile"] if rate.compile else []),
      *([f"{rate.start:.1f} s to start"] if rate.start else []),
    ]
    return (
      f"cost: about {wording.duration(self.seconds)} for {self.runs} runs, {at_a_time}; "
      f"{wording.count(self.multiply_adds)} multiply-adds\n"
      f"      each worker: {', '.join(parts)} ({rate.source})"
    )


def estimate_cost(
  stages: Iterable[tuple[Sequence[RunSpec], Sequence[Examined]]],
  rate: Rate,
  workers: int,
  compiled: Iterable[str] = (),
) -> CostEstimate:
  """Returns the cost of the runs that are not finished.

  Args:
    stages: plans, one after the other, whose runs cost what was examined of their variants; a
      variant with an error counts as zero.
    rate: of one worker.
    workers: number of runs trained at the same time.
    compiled: folders of runs whose programs are in the cache; see `compiled_folders`.
  """
  runs, total, seconds, most = 0, 0.0, 0.0, 1
  seen = set(compiled)
  for specs, examined in stages:
    found = {one.label: one for one in examined}
    todo = [spec for spec in specs if spec.to_do]
    busy = [rate.start] * max(1, min(workers, len(todo)))  # until when each worker is, a heap
    for spec in todo:
      one = found.get(spec.label, Examined(spec.label))
      trained = TRAINING_FACTOR * one.images * one.multiply_adds
      evaluated = one.eval_images * one.multiply_adds
      fresh = _folder(spec) not in seen
      seen.add(_folder(spec))
      own = rate.overhead + fresh * rate.compile
      own += trained / rate.multiply_adds + evaluated / rate.evaluated
      heapq.heapreplace(busy, busy[0] + own)
      total += trained + evaluated
    runs, most = runs + len(todo), max(most, len(busy))
    seconds += max(busy) if todo else 0.0
  return CostEstimate(runs, total, seconds, rate, most)


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
      # Examples that are counted out are taken from what is not held out.
      kept = 1 if config.data.train_examples else 1 - config.data.validation
      images = int(one.images * share * kept)
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
    seconds = sum(run.status.get("spent", {}).values()) or run.status.get("seconds") or 0.0
    overheads.append(max(0.0, float(seconds) - steps * batch / speed))
  if not rates:
    return None
  median = pd.DataFrame({"rate": rates, "overhead": overheads}).median()
  return Rate(
    float(median["rate"]), float(median["overhead"]), f"measured in {len(rates)} runs of this sweep"
  )


def remembered(spec: RunSpec, cores: int) -> Rate | None:
  """Returns the rate that `measure` has found on this machine for the same run; imports no JAX.

  Args:
    spec: the run.
    cores: of a worker.
  """
  entry = stored(_key(spec.to_dict(), cores))
  return None if entry is None else Rate(**entry[1])


def measure(spec: JsonMapping, cores: int, asked: float) -> Rate:
  """Returns how fast this process is at a run; it is timed for seconds, and remembered.

  Args:
    spec: `RunSpec.to_dict()`.
    cores: that this process may use.
    asked: when this process was started, by `time.time`.

  Raises:
    ConfigError, DataError, ShapeError: the run cannot be set up.
  """
  import cnnlab.train  # noqa: F401, what a worker imports before its first run

  start = time.time() - asked
  return Rate(**cached(_key(spec, cores), lambda: ({}, _measure(spec, start)._asdict()))[1])


def check_and_measure(
  tuning: Sequence[JsonMapping], spec: JsonMapping | None, cores: int, asked: float
) -> Rate | None:
  """Checks the settings of tuning runs, then measures a run, if one is given; see `measure`.

  Raises:
    ConfigError: a setting cannot be used.
  """
  check_settings(tuning)
  return None if spec is None else measure(spec, cores, asked)


def remember_compiled(spec: JsonMapping) -> None:
  """Remembers that the programs of a run's variant are in the cache of compiled programs."""
  cached(_compiled_key(spec), lambda: ({}, True))


def compiled_folders(specs: Iterable[RunSpec]) -> set[str]:
  """Returns the folders, `<variant>` or `<variant>/tuning/<setting>`, whose runs were trained here.

  Their programs are in the cache, since they do not depend on the seed.
  """
  first = {_folder(spec): spec for spec in specs}
  return {name for name, spec in first.items() if stored(_compiled_key(spec.to_dict()))}


def _folder(spec: RunSpec) -> str:
  return spec.name.rpartition("/")[0]


def _machine() -> list[object]:
  return [processor(), os.environ.get("CUDA_VISIBLE_DEVICES"), version("jax"), version("cnnlab")]


def _compiled_key(spec: JsonMapping) -> list[object]:
  return ["compiled", to_plain(resolve(spec)) | {"seed": 0}, *_machine()]


def _key(spec: JsonMapping, cores: int) -> list[object]:
  return ["rate of a worker", to_plain(resolve(spec)), platform.node(), cores, *_machine()]


def _measure(spec: JsonMapping, start: float) -> Rate:
  """Returns the rate of this process, which took `start` seconds to begin.

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
  loaded = time.perf_counter() - began
  try:
    first, _ = _timed(lambda: _compile(setup))
    again, (state, step, evaluate) = _timed(lambda: _compile(setup))  # from the cache
    parallel, split = setup.parallel, setup.data.train
    constants, key = parallel.put(split.constants), parallel.put(setup.key)
    batches = split.train_batches(0)

    def train() -> None:
      nonlocal state
      state, loss = step(state, constants, parallel.put_batch(next(batches)), key)
      jax.block_until_ready(loss)

    train()
    train_seconds = _repeated(train, TIMED_SECONDS)
    evaluate_seconds = _repeated(lambda: evaluate(state), EVALUATED_SECONDS)
  finally:
    setup.data.close()
  cost = max(1, setup.resolved["derived"]["multiply_adds"])
  return Rate(
    TRAINING_FACTOR * cost * setup.resolved["batch_size"] / train_seconds,
    loaded + again,
    f"timed here with {spec['label']!r}",
    cost * setup.resolved["derived"]["eval_batch_size"] / evaluate_seconds,
    max(0.0, first - again),
    start,
  )


def _compile(setup: Setup) -> tuple[State, Callable, Callable[[State], None]]:
  """Returns a state, the training step, and a function that evaluates a state on a batch."""
  import jax

  from cnnlab.train.step import evaluation_zeros

  parallel, program, data = setup.parallel, setup.program, setup.data
  constants, key = parallel.put(data.train.constants), parallel.put(setup.key)
  batch = parallel.put_batch(next(data.train.train_batches(0)))
  state = parallel.init(program)(constants, batch, key)
  step = parallel.train(program)
  step.lower(state, constants, batch, key).compile()
  eval_constants = parallel.put(data.eval.constants)
  eval_batch = parallel.put_batch(next(data.eval.eval_batches()))
  eval_step = parallel.evaluate(program)

  def evaluate(state: State) -> None:
    zeros = parallel.put(evaluation_zeros(program, state, eval_constants, eval_batch))
    jax.block_until_ready(eval_step(state, eval_constants, eval_batch, zeros))

  evaluate(state)
  return state, step, evaluate


def _timed(act: Callable[[], T]) -> tuple[float, T]:
  began = time.perf_counter()
  result = act()
  return time.perf_counter() - began, result


def _repeated(act: Callable[[], object], seconds: float) -> float:
  """Returns the mean seconds of an action that is repeated for about so long."""
  began, count = time.perf_counter(), 0
  while not count or time.perf_counter() - began < seconds:
    act()
    count += 1
  return (time.perf_counter() - began) / count
