"""The outputs of untrained nets: a variant that hardly changes them hardly differs from the base.

The same seed gives variants the same images, random streams and, where shapes agree, weights. What
two nets return before any training then differs by what the overrides change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from cnnlab.train.setup import Setup

IMAGES = 4
NEARLY = 1e-3  # relative difference below which two nets count as nearly the same


def initial_outputs(setup: Setup) -> list[float]:
  """Returns the outputs of the untrained net, in training mode, for the first images of a batch.

  Empty where the output is no array of moderate size, as in detection. Operations run one by one,
  which for so few images takes less time than compiling the net.
  """
  import jax
  import jax.numpy as jnp

  from cnnlab import native
  from cnnlab.train.step import init_state

  program, split = setup.program, setup.data.train
  with native.disabled(), jax.default_matmul_precision("float32"):
    first = next(split.train_batches(0))
    batch = {name: jnp.asarray(array[:IMAGES]) for name, array in first.items()}
    stored = program.gather(split.constants, batch)
    inputs = program.task.inputs(program.preprocess.eval(stored), train=True)
    state = init_state(program, split.constants, batch, setup.key)
    rngs = dict.fromkeys(program.task.streams, setup.key)
    (out, _), _ = program.model.apply(
      {"params": state.params, **state.model_state},
      *inputs,
      train=True,
      rngs=rngs,
      mutable=list(state.model_state),
    )
  if not isinstance(out, jax.Array) or out.size > 10_000:
    return []
  return [float(value) for value in np.asarray(out, np.float32).ravel()]


def relative_difference(outputs: list[float], base: list[float]) -> float:
  """Returns the norm of the difference divided by the base's norm; NaN where they do not compare."""
  if not base or len(outputs) != len(base):
    return float("nan")
  ours, theirs = np.asarray(outputs), np.asarray(base)
  norm = float(np.linalg.norm(theirs))
  return float(np.linalg.norm(ours - theirs)) / norm if norm else float("nan")
