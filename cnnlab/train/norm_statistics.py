"""Moving averages of norms, estimated anew over training examples with the parameters fixed.

In training they are means over the last steps, whose parameters still changed, and with
`ema_decay` they belong to other parameters than those that are evaluated. Here the network runs as
in evaluation (no augmentation, no dropout, every block), except that its norms use the batch's
statistics, which are averaged over many batches: "batch average" of switchable norm
(arXiv:1806.10779, section 3) and "precise" batch norm (arXiv:2105.07576, section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from cnnlab.errors import ConfigError
from cnnlab.tasks.base import Batch
from cnnlab.train.setup import Setup
from cnnlab.train.state import State
from cnnlab.train.step import Freeze, evaluated_variables

STATISTICS = "batch_stats"
Path = tuple[str, ...]


def reestimated(setup: Setup, state: State, batches: int) -> State:
  """Returns the state with the norms' averages over training examples, as an evaluation sees them.

  Means are averaged over batches; a variance is that of all examples together, the mean of the
  batches' variances plus the variance of their means. Norms of frozen parts keep their averages.

  Args:
    setup: the run. The examples are those of its first training batches, in the order of its seed.
    state: of the run. Its averaged parameters are used where there are some.
    batches: how many batches; an epoch is the most that are used.

  Raises:
    ConfigError: fewer than one batch, or a network without norms that average over batches.
  """
  if batches < 1:
    raise ConfigError(f"{batches} batches to estimate statistics over; allowed: 1 and more")
  program, split, parallel = setup.program, setup.data.train, setup.parallel
  norms: set[Path] = set()

  def measure(state: State, constants: Any, batch: Batch) -> Any:
    examples = program.preprocess.eval(program.gather(constants, batch))
    with _batch_statistics(program.freeze, norms):
      _, new = program.model.apply(
        evaluated_variables(program, state),
        *program.task.inputs(examples, train=False),
        train=False,
        mutable=[STATISTICS],
      )
    return new.get(STATISTICS, {})

  step = jax.jit(measure, out_shardings=parallel.replicated)
  constants = parallel.put(split.constants)
  count = min(batches, split.steps_per_epoch)
  sums: dict[Path, np.ndarray] = {}
  for batch in itertools.islice(split.train_batches(0), count):
    found = jax.device_get(step(state, constants, parallel.put_batch(batch)))
    if not norms:  # which tracing has found
      raise ConfigError(
        "the network has no norm whose statistics are averaged over batches and not frozen; "
        "'batch', 'switchable' and 'weight_mean_only' have"
      )
    for path, value in _moments(found).items():
      sums[path] = sums.get(path, 0.0) + value / count
  flat = traverse_util.flatten_dict(state.model_state[STATISTICS])
  flat |= {
    path: _statistic(path, sums).astype(flat[path].dtype) for path in sums if path[:-1] in norms
  }
  renewed = parallel.put(traverse_util.unflatten_dict(flat))
  return state.replace(model_state={**state.model_state, STATISTICS: renewed})


@contextmanager
def _batch_statistics(freeze: Freeze | None, norms: set[Path]) -> Iterator[None]:
  """Inside, norms use the batch's statistics and store them as they are; their paths are noted."""

  def call(method: Callable, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    module = context.module
    averages = hasattr(module, "use_running_average") and hasattr(module, "momentum")
    if averages and not (freeze and freeze((*module.path, "scale"))):
      norms.add(module.path)
      # The bound module lives for this call alone; its fields are frozen against accidents.
      object.__setattr__(module, "use_running_average", False)
      object.__setattr__(module, "momentum", 0.0)
    return method(*args, **kwargs)

  with nn.intercept_methods(call):
    yield


def _moments(found: Any) -> dict[Path, np.ndarray]:
  """Returns a batch's statistics with second moments in the place of variances, in float64."""
  flat = {p: np.asarray(a, np.float64) for p, a in traverse_util.flatten_dict(found).items()}
  return {path: a + np.square(_mean(path, flat)) for path, a in flat.items()}


def _statistic(path: Path, sums: dict[Path, np.ndarray]) -> np.ndarray:
  """Returns the mean of an entry, or a variance from the means of both moments."""
  found = sums[path] - np.square(_mean(path, sums))
  return np.maximum(found, 0) if path[-1] == "var" else found


def _mean(path: Path, entries: dict[Path, np.ndarray]) -> np.ndarray | float:
  """Returns the mean that belongs to a variance; 0 for any other entry, or one without a mean."""
  return entries.get((*path[:-1], "mean"), 0.0) if path[-1] == "var" else 0.0
