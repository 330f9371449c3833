"""Evaluation: every example of a split exactly once, whatever the batch size."""

from __future__ import annotations

from collections.abc import Callable

import jax

from cnnlab.errors import DataError
from cnnlab.train.setup import Setup
from cnnlab.train.state import State, zero_metrics
from cnnlab.train.step import LOOP_METRICS


def evaluate(setup: Setup) -> Callable[[State], dict[str, float]]:
  """Returns a function from a state to the evaluation's metrics, named `eval/...`.

  Sums stay on the device until the last batch. The count of examples is checked.
  """
  split, parallel = setup.data.eval, setup.parallel
  constants = parallel.put(split.constants)
  step = parallel.evaluate(setup.recipe)

  def run(state: State) -> dict[str, float]:
    sums = {name: s for name, s in zero_metrics(state.metrics).items() if name not in LOOP_METRICS}
    sums = parallel.put(sums)
    for batch in split.eval_batches():
      sums = step(state, constants, parallel.put_batch(batch), sums)
    metrics = setup.recipe.task.summarise(jax.device_get(sums))
    if metrics["count"] != split.num_examples:
      raise DataError(
        f"evaluation counted {metrics['count']} examples of a split that has {split.num_examples}"
      )
    return {f"eval/{name}": value for name, value in metrics.items()}

  return run
