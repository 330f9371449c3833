"""Evaluation: every example of a split exactly once, whatever the batch size."""

from __future__ import annotations

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


def evaluate(setup: Setup) -> Callable[[State], dict[str, float | None]]:
  """Returns a function from a state to the evaluation's metrics, named `eval/...`.

  Sums stay on the device until the last batch; what a task's accumulator needs of each example
  comes to the host batch by batch. The count of examples is checked.
  """
  split, parallel, program = setup.data.eval, setup.parallel, setup.program
  constants = parallel.put(split.constants)
  step = parallel.evaluate(program)

  def run(state: State) -> dict[str, float | None]:
    sums, accumulator = None, program.task.accumulator()
    for host_batch in split.eval_batches():
      batch = parallel.put_batch(host_batch)
      if sums is None:
        sums = parallel.put(evaluation_zeros(program, state, constants, batch))
      sums, rows = step(state, constants, batch, sums)
      if accumulator is not None:
        keep = np.asarray(host_batch["mask"])
        accumulator.add({name: row[keep] for name, row in jax.device_get(rows).items()})
    return split_metrics(program.task, split, jax.device_get(sums), accumulator)

  return run


def split_metrics(
  task: Task, split: Split, sums: HostSums, accumulator: Accumulator | None
) -> dict[str, float | None]:
  """Returns the metrics of a whole split, named `eval/...`.

  Args:
    task: defines the metrics.
    split: what was evaluated.
    sums: of all its batches.
    accumulator: what the task has collected of its examples.

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
  return {f"eval/{name}": value for name, value in flat_metrics(metrics).items()}
