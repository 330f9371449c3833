"""What a run will take of its devices' memory at least, told before any of it is allocated."""

from __future__ import annotations

from typing import Any

import jax

from cnnlab import capacity
from cnnlab.data import Data
from cnnlab.train.settings import Settings
from cnnlab.train.step import Program


def require_memory(
  settings: Settings, program: Program, variables: Any, outputs: Any, loaded: Data, devices: int
) -> None:
  """Raises ConfigError where the state, or a batch and the maps of it that are kept, cannot fit.

  Args:
    settings: of the run.
    program: of the run.
    variables: shapes of the network's variables.
    outputs: shapes of what the network returns for one image: (out, feats).
    loaded: the data set.
    devices: that share a batch.
  """
  run, memory = settings.run, capacity.device_memory()
  params = _bytes(variables["params"])
  slots = _bytes(jax.eval_shape(program.optimizer.init, variables["params"]))
  # Parameters and their gradients, and the averaged parameters.
  state = _bytes(variables) + slots + params * (2 if program.ema_decay else 1)
  decoded = sum(array.nbytes for array in loaded.train.constants.values())
  held = {"the training state": state, "decoded images": decoded}
  capacity.require(held, ["model", "optim.name"], memory)

  height, width, channels = loaded.image_shape
  image = 4 * height * width * channels
  together = run.batch_size // run.accumulate
  maps = image + _bytes(outputs)  # a backward pass needs all of them
  batch = {f"{together} images and their maps": together * maps // devices}
  capacity.require(held | batch, ["batch_size", "data.image_size", "model"], memory)

  together = loaded.eval.plan.eval_batch_size
  largest = max(image, *(_bytes(leaf) for leaf in jax.tree.leaves(outputs)))
  batch = {f"{together} images or one map of them": together * largest // devices}
  capacity.require(held | batch, ["eval_batch_size", "data.image_size", "model"], memory)


def _bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
