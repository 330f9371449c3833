"""Steps compiled over all devices: a batch is split between them, the state is on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Wrapped

from cnnlab.errors import ConfigError, unknown
from cnnlab.train.state import State
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
    self.stacked = NamedSharding(self.mesh, PartitionSpec(None, AXIS))

  def round_up(self, batch_size: int) -> int:
    """Returns the next batch size that the devices can share evenly."""
    return -(-batch_size // self.mesh.size) * self.mesh.size

  def put_batch(self, batch: Any) -> Any:
    """Returns the batch on the devices, split along its first axis.

    With several hosts, `batch` is this host's part of the global batch.
    """
    return self._put(batch, self.sharded)

  def put_batches(self, batches: Sequence[Any]) -> Any:
    """Returns the batches stacked along a new first axis; each is split as by `put_batch`."""
    return self._put(jax.tree.map(lambda *parts: np.stack(parts), *batches), self.stacked)

  def _put(self, tree: Any, sharding: NamedSharding) -> Any:
    if jax.process_count() > 1:
      return jax.tree.map(lambda part: jax.make_array_from_process_local_data(sharding, part), tree)
    return jax.device_put(tree, sharding)

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

  def train(self, program: Program) -> Wrapped:
    """Returns the compiled `(state, constants, batch, key) -> (state, loss)`.

    It takes over the state's memory.
    """
    return self._compiled(self._step(program))

  def train_many(self, program: Program) -> Wrapped:
    """Returns the compiled `(state, constants, batches, key) -> (state, losses [n])`.

    It trains one step on each of the n batches that `put_batches` has stacked, as `train` does
    one by one, and takes over the state's memory as well. Each n is compiled anew.
    """
    step = self._step(program)

    def steps(state: State, constants: Any, batches: Any, key: Array) -> tuple[State, Array]:
      return jax.lax.scan(lambda state, batch: step(state, constants, batch, key), state, batches)

    return self._compiled(steps)

  def _step(self, program: Program) -> Callable:
    if self.mode == "jit":
      return partial(train_step, program)
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
      partial(train_step, program, axis=AXIS),
      mesh=self.mesh,
      in_specs=(whole, whole, split, whole),
      out_specs=(whole, whole),
      check_vma=False,  # the averaged outputs are equal on all devices by construction
    )

  def _compiled(self, step: Callable) -> Wrapped:
    return jax.jit(step, donate_argnums=0, out_shardings=self.replicated)

  def evaluate(self, program: Program) -> Callable:
    """Returns the compiled `(state, constants, batch, sums) -> (sums, collected rows)`."""
    return jax.jit(partial(eval_step, program), donate_argnums=3, out_shardings=self.replicated)
