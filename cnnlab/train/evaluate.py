"""Evaluation: every example of a split exactly once, whatever the batch size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from cnnlab.data.splits import Split
from cnnlab.errors import DataError
from cnnlab.tasks import Task
from cnnlab.tasks.base import Accumulator, HostSums, flat_metrics
from cnnlab.train.setup import Setup
from cnnlab.train.state import State
from cnnlab.train.step import evaluation_zeros

Metrics = dict[str, float | None]
Examples = dict[str, np.ndarray]
Progress = Callable[[int, int], None]
TRAINSET = "trainset"  # the training set as it is evaluated: without augmentation


class Evaluation:
  """Evaluates states of a run on one of its splits.

  Args:
    setup: the run.
    split: `eval`, or `trainset` for the training examples without augmentation; metrics are named
      by it.
    progress: called with (evaluated batches, batches in all).
  """

  def __init__(self, setup: Setup, split: str = "eval", progress: Progress | None = None):
    program, parallel = setup.program, setup.parallel
    self._name, self._parallel = split, parallel
    self._progress = progress or (lambda done, total: None)
    self._split = setup.data.eval
    if split == TRAINSET:
      self._split = setup.data.train
      program = dataclasses.replace(program, eval_gather=program.gather)
    self._program = program
    self._constants = parallel.put(self._split.constants)
    self._step = parallel.evaluate(program)

  def __call__(self, state: State) -> Metrics:
    """Returns the metrics of the whole split."""
    return self._run(state, None)

  def with_examples(self, state: State) -> tuple[Metrics, Examples]:
    """Returns the metrics, and the arrays [n, ...] of `Task.example_metrics` in the split's order."""
    kept: list[Examples] = []
    metrics = self._run(state, kept)
    return metrics, {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}

  def _run(self, state: State, examples: list[Examples] | None) -> Metrics:
    """Sums stay on the device until the last batch; what is kept of each example does not."""
    sums, accumulator = None, self._program.task.accumulator()
    for number, host_batch in enumerate(self._split.eval_batches(), start=1):
      batch = self._parallel.put_batch(host_batch)
      if sums is None:
        zeros = evaluation_zeros(self._program, state, self._constants, batch)
        sums = self._parallel.put(zeros)
      sums, rows = self._step(state, self._constants, batch, sums)
      keep = np.asarray(host_batch["mask"])
      if accumulator is not None:
        accumulator.add(_kept(rows["collected"], keep))
      if examples is not None:
        examples.append(_kept(rows["examples"], keep))
      self._progress(number, self._split.num_eval_batches)
    task = self._program.task
    return split_metrics(task, self._split, jax.device_get(sums), accumulator, self._name)


def _kept(rows: dict[str, jax.Array], keep: np.ndarray) -> Examples:
  return {name: row[keep] for name, row in jax.device_get(rows).items()}


def split_metrics(
  task: Task,
  split: Split,
  sums: HostSums,
  accumulator: Accumulator | None,
  name: str = "eval",
) -> Metrics:
  """Returns the metrics of a whole split, named `eval/...`.

  Args:
    task: defines the metrics.
    split: what was evaluated.
    sums: of all its batches.
    accumulator: what the task has collected of its examples.
    name: first part of the metrics' names.

  Raises:
    DataError: the sums are of fewer or more examples than the split has.
  """
  metrics = task.summarize(sums)
  if metrics["count"] != split.num_readable:
    raise DataError(
      f"evaluation counted {metrics['count']} examples of a split that has {split.num_readable}"
    )
  if accumulator is not None:
    metrics |= accumulator.result()
  return {f"{name}/{metric}": value for metric, value in flat_metrics(metrics).items()}
