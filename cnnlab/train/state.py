"""The whole training state as one pytree, and the keys that all randomness follows from."""

from __future__ import annotations

import zlib
from typing import Any

import jax
from flax import linen as nn
from flax import struct
from jax import Array

from cnnlab.tasks import Task


class State(struct.PyTreeNode):
  """Everything that a run needs to go on, bit for bit.

  Attributes:
    step: finished training steps, int32.
    params: the network's parameters.
    model_state: its other collections, such as batch statistics.
    opt_state: the optimizer's.
    ema: averaged parameters, or {} where they are off.
    plateau: state of the plateau rule, or {}.
    metrics: sums since the last logged step, so that a window may span an interruption.
  """

  step: Array
  params: Any
  model_state: Any
  opt_state: Any
  ema: Any
  plateau: Any
  metrics: dict[str, Array]


def named_key(key: Array, name: str, step: Array | int | None = None) -> Array:
  """Returns the key of a named use of randomness, at a step where one is given.

  No key is ever stored: each follows from the seed, a name and the step.
  """
  key = jax.random.fold_in(key, zlib.crc32(name.encode()))
  return key if step is None else jax.random.fold_in(key, step)


def init_variables(model: nn.Module, task: Task, key: Array, batch: Any) -> tuple[Any, Any, Any]:
  """Returns the parameters and the state of a network, and its output of the batch in training.

  Args:
    model: the network.
    task: what the network takes of a batch, and its random streams.
    key: the run's key. Flax derives each parameter's key from its module's path, so two
      networks start from the same weights wherever a path and a shape agree.
    batch: preprocessed; the values matter only to data-dependent initialization.
  """
  rngs = {"params": named_key(key, "params")}
  rngs |= {name: named_key(key, f"init_{name}") for name in task.streams}
  inputs = task.inputs(batch, train=True)
  (out, _), variables = model.init_with_output(rngs, *inputs, train=True)
  variables = dict(variables)
  params = variables.pop("params")
  return params, variables, out
