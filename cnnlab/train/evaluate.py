"""Evaluation: every example of a split exactly once, whatever the batch size."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from cnnlab.errors import DataError
from cnnlab.tasks.base import flat_metrics
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
    metrics = program.task.summarize(jax.device_get(sums))
    if metrics["count"] != split.num_readable:
      raise DataError(
        f"evaluation counted {metrics['count']} examples of a split that has {split.num_readable}"
      )
    if accumulator is not None:
      metrics |= accumulator.result()
    return {f"eval/{name}": value for name, value in flat_metrics(metrics).items()}

  return run
