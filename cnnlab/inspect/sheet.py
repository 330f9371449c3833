"""The sheet of a network: output, cost, receptive field and memory of each layer.

    sheet = describe(create_model("resnet18"), (224, 224, 3), batch_size=32)
    sheet.multiply_adds, sheet.memory()["activations"], sheet.table()

The network is traced on shapes and never run. docs/arithmetic.md explains how things are counted.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError, unknown
from cnnlab.inspect.trace import Layer, trace
from cnnlab.nn.cost import count_parameters
from cnnlab.types import Json, Options

# pandas is imported where a table is made: `cnnlab describe` prints without it, half a second sooner.
if TYPE_CHECKING:
  import pandas as pd

PARAMETER_BYTES = 4  # parameters, their gradients and the optimizer's slots are float32
INPUT_BYTES = 4  # images enter the network as float32
WITHOUT_MOMENTUM = " without momentum"


@cache
def optimizer_names() -> tuple[str, ...]:
  """Returns the optimizers of `optim.name`, and 'sgd without momentum' and the like."""
  from cnnlab.train.optim import OPTIMIZERS

  plain = [name for name, kind in OPTIMIZERS.items() if hasattr(kind, "momentum")]
  return (*OPTIMIZERS, *(name + WITHOUT_MOMENTUM for name in plain))


@cache
def optimizer_slots(name: str) -> int:
  """Returns how many arrays as large as the parameters an optimizer keeps, such as momentum.

  Args:
    name: one of `optimizer_names()`.

  Raises:
    ConfigError: for an unknown name.
  """
  from cnnlab.train.optim import OPTIMIZERS, create_optimizer

  if name not in optimizer_names():
    raise ConfigError(unknown("optimizer", name, optimizer_names()))
  kind = OPTIMIZERS[name.removesuffix(WITHOUT_MOMENTUM)]
  options: Options = {"momentum": 0.0} if name.endswith(WITHOUT_MOMENTUM) else {}
  kernel = jax.ShapeDtypeStruct((2, 3), jnp.float32)
  state = jax.eval_shape(create_optimizer(kind(**options)).init, {"kernel": kernel})
  return sum(leaf.shape == kernel.shape for leaf in jax.tree.leaves(state))


@dataclasses.dataclass(frozen=True)
class LayerRow:
  """A layer of a sheet; sizes and costs are per example, pairs are (height, width).

  Attributes:
    name: its path in the network, `stage1_block1/conv1`.
    kind: its class, or the pooling's name.
    output: the output's shape without the batch; () if it does not depend on the image.
    parameters: number of elements of its own parameters.
    multiply_adds: of its convolutions and matrix products in a forward pass.
    receptive_field: pixels of the image that an output depends on, padding included.
    stride: pixels between the fields of neighboring outputs; None if the output is no map.
    output_bytes: size of the output, and of the gradient with respect to it.
    kept_bytes: size of the arrays that the backward pass needs and that are made in the layer or
      by the activations, sums and concatenations that follow it.
  """

  name: str
  kind: str
  output: tuple[int, ...]
  parameters: int
  multiply_adds: int
  receptive_field: tuple[int, int] | None
  stride: tuple[int, int] | None
  output_bytes: int
  kept_bytes: int


@dataclasses.dataclass(frozen=True)
class Sheet:
  """All layers of a network in execution order.

  Attributes:
    name: the network's name.
    image_shape: (height, width, channels) of the image it was traced with.
    batch_size: number of examples for which memory is counted.
    optimizer: one of `optimizer_names()`.
    rows: the layers.
    statistics: number of elements of its other variables, such as batch norm's moving averages.
  """

  name: str
  image_shape: tuple[int, int, int]
  batch_size: int
  optimizer: str
  rows: tuple[LayerRow, ...]
  statistics: int

  @property
  def parameters(self) -> int:
    """Number of elements of all parameters."""
    return sum(row.parameters for row in self.rows)

  @property
  def multiply_adds(self) -> int:
    """Multiply-adds of one example's forward pass."""
    return sum(row.multiply_adds for row in self.rows)

  @property
  def receptive_field(self) -> tuple[int, int]:
    """Receptive field of the last layer that outputs a map, (height, width); (1, 1) without."""
    fields = [r.receptive_field for r in self.rows if r.stride and r.receptive_field]
    return fields[-1] if fields else (1, 1)

  @property
  def output_bytes(self) -> int:
    """Bytes of the outputs of all layers for a batch; all their gradients take as much."""
    return sum(row.output_bytes for row in self.rows) * self.batch_size

  def memory(self) -> dict[str, int]:
    """Returns the bytes of a training step by source.

    'activations' is the minimum that must be kept for the backward pass: the inputs of
    convolutions, matrix products and norms, the outputs of activations whose gradient follows
    from them, and one byte per maximum for pooling. 'activation_gradients' is the largest gradient
    of two layers in a row: a layer's backward pass makes the one of its input from that of its
    output. A compiled step needs more, for temporary arrays and for what the compiler chooses to
    keep: with XLA on a CPU, 1.2 to 2.3 times the activations in the small networks that were
    measured.
    """
    outputs = [row.output_bytes for row in self.rows if row.output_bytes]
    pairs = [*map(sum, itertools.pairwise(outputs)), *outputs[:1]]
    weights = self.parameters * PARAMETER_BYTES
    return {
      "parameters": weights,
      "gradients": weights,
      "optimizer": weights * optimizer_slots(self.optimizer),
      "statistics": self.statistics * PARAMETER_BYTES,
      "activations": sum(row.kept_bytes for row in self.rows) * self.batch_size,
      "activation_gradients": max(pairs, default=0) * self.batch_size,
      "batch": math.prod(self.image_shape) * INPUT_BYTES * self.batch_size,
    }

  def row_memory(self, row: LayerRow) -> dict[str, int]:
    """Returns a layer's bytes by source, as far as those of `memory` add up over layers."""
    weights = row.parameters * PARAMETER_BYTES
    return {
      "parameters": weights,
      "gradients": weights,
      "optimizer": weights * optimizer_slots(self.optimizer),
      "activations": row.kept_bytes * self.batch_size,
    }

  def table(self) -> pd.DataFrame:
    """Returns a table with one row per layer; sizes in pixels, memory in bytes per batch."""
    import pandas as pd

    return pd.DataFrame([self.record(row) for row in self.rows])

  def record(self, row: LayerRow) -> Json:
    """Returns a layer as a row of `table`."""
    return {
      "layer": row.name,
      "kind": row.kind,
      "output": "x".join(map(str, row.output)),
      "parameters": row.parameters,
      "multiply_adds": row.multiply_adds,
      "receptive_field": _sides(row.receptive_field),
      "stride": _sides(row.stride),
      "output_bytes": row.output_bytes * self.batch_size,
    } | {f"{source}_bytes": size for source, size in self.row_memory(row).items()}

  def to_json(self) -> Json:
    """Returns everything as plain numbers, strings, lists and dicts."""
    memory = self.memory()
    return {
      "name": self.name,
      "image_shape": list(self.image_shape),
      "batch_size": self.batch_size,
      "optimizer": self.optimizer,
      "layers": [
        dataclasses.asdict(row) | {"memory_bytes": self.row_memory(row)} for row in self.rows
      ],
      "total": {
        "parameters": self.parameters,
        "multiply_adds": self.multiply_adds,
        "receptive_field": list(self.receptive_field),
        "memory_bytes": memory | {"total": sum(memory.values())},
      },
    }


def describe(
  model: nn.Module,
  image_shape: tuple[int, int, int],
  *,
  name: str = "",
  batch_size: int = 1,
  optimizer: str = "sgd",
) -> Sheet:
  """Returns the sheet of a network.

  Args:
    model: as `cnnlab.models.create_model` builds it.
    image_shape: (height, width, channels).
    name: used in titles; default: the network's class.
    batch_size: number of examples in a batch.
    optimizer: one of `optimizer_names()`.

  Raises:
    ShapeError: the image is too small for the network.
    ConfigError: an unknown optimizer or a batch size below 1.
  """
  if optimizer not in optimizer_names():
    raise ConfigError(unknown("optimizer", optimizer, optimizer_names()))
  if batch_size < 1:
    raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
  found = trace(model, image_shape)
  others: Mapping = {k: v for k, v in found.variables.items() if k != "params"}
  return Sheet(
    name=name or type(model).__name__,
    image_shape=image_shape,
    batch_size=batch_size,
    optimizer=optimizer,
    rows=tuple(map(_row, found.layers)),
    statistics=count_parameters(jax.tree.leaves(others)),
  )


def _row(layer: Layer) -> LayerRow:
  fields, is_map = layer.fields, len(layer.shape) == 3
  stride = (abs(fields[0].steps[1]), abs(fields[1].steps[2])) if fields and is_map else (0, 0)
  return LayerRow(
    name="/".join(layer.path) or "(the net itself)",
    kind=layer.kind,
    output=layer.shape,
    parameters=layer.parameters,
    multiply_adds=layer.multiply_adds,
    receptive_field=(fields[0].size, fields[1].size) if fields else None,
    stride=stride if all(stride) else None,
    output_bytes=layer.output_bytes,
    kept_bytes=layer.kept_bytes,
  )


def _sides(sides: tuple[int, int] | None) -> str:
  if sides is None:
    return ""
  return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"
