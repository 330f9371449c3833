"""Steps compiled over all devices: a batch is split between them, the state is on each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnnlab.errors import ConfigError, unknown
from cnnlab.train.step import Program, eval_step, init_state, train_step

AXIS = "data"
MODES = ("jit", "pmap")


def steps_in_flight() -> int:
  """Returns how many steps the host may be ahead of the devices: enough to hide its own work.

  On a CPU it is none: host and device share the cores, and each step in flight takes its memory.
  """
  return 0 if jax.default_backend() == "cpu" else 2


class Parallel:
  """A mesh of all devices, and the steps compiled for it.

  Args:
    mode: 'jit' is one program over the global batch, so that batch statistics are global;
      'pmap' runs the step on each device on its own part of the batch, with batch statistics
      of its own and averaged gradients, as '8 GPUs x 32 images' recipes do. It is compiled
      by `jax.shard_map`, of which `jax.pmap` is the older form.
    batch_size: over all devices.

  Raises:
    ConfigError: an unknown mode, or a batch that the devices cannot share evenly.
  """

  def __init__(self, mode: str, batch_size: int):
    if mode not in MODES:
      raise ConfigError(unknown("value of config key 'parallel'", mode, MODES))
    devices = jax.devices()
    if batch_size % len(devices):
      raise ConfigError(
        f"config key 'batch_size' is {batch_size}, which {len(devices)} devices cannot share evenly"
      )
    self.mode = mode
    self.mesh = Mesh(np.array(devices), (AXIS,))
    self.replicated = NamedSharding(self.mesh, PartitionSpec())
    self.sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))

  def round_up(self, batch_size: int) -> int:
    """Returns the next batch size that the devices can share evenly."""
    return -(-batch_size // self.mesh.size) * self.mesh.size

  def put_batch(self, batch: Any) -> Any:
    """Returns the batch on the devices, split along its first axis.

    With several hosts, `batch` is this host's part of the global batch.
    """
    if jax.process_count() > 1:
      return jax.tree.map(
        lambda part: jax.make_array_from_process_local_data(self.sharded, part), batch
      )
    return jax.device_put(batch, self.sharded)

  def put(self, tree: Any) -> Any:
    """Returns the arrays, whole, on every device."""
    return jax.device_put(tree, self.replicated)

  def template(self, tree: Any) -> Any:
    """Returns the tree's shapes with where they lie, for restoring onto these devices."""
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.replicated), tree
    )

  def init(self, program: Program) -> Callable:
    """Returns the compiled `(constants, batch, key) -> State`."""
    return jax.jit(partial(init_state, program), out_shardings=self.replicated)

  def train(self, program: Program) -> Callable:
    """Returns the compiled `(state, constants, batch, key) -> (state, loss)`; it takes over the state's memory."""
    if self.mode == "jit":
      step = partial(train_step, program)
    else:
      whole, split = PartitionSpec(), PartitionSpec(AXIS)
      step = jax.shard_map(
        partial(train_step, program, axis=AXIS),
        mesh=self.mesh,
        in_specs=(whole, whole, split, whole),
        out_specs=(whole, whole),
        check_vma=False,  # the averaged outputs are equal on all devices by construction
      )
    return jax.jit(step, donate_argnums=0, out_shardings=self.replicated)

  def evaluate(self, program: Program) -> Callable:
    """Returns the compiled `(state, constants, batch, sums) -> (sums, collected rows)`."""
    return jax.jit(partial(eval_step, program), donate_argnums=3, out_shardings=self.replicated)
