"""The sheet of a network: what each layer outputs, costs, sees and keeps, and where memory goes.

    sheet = describe(create_model("resnet18"), (224, 224, 3), batch_size=32)
    sheet.multiply_adds, sheet.memory()["activations"], sheet.table()

The network is traced on shapes and never run. docs/arithmetic.md explains what counts how.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError, unknown
from cnnlab.inspect.trace import Layer, trace
from cnnlab.nn.cost import count_parameters

# pandas is imported where a table is made: `cnnlab describe` prints without it, half a second sooner.
if TYPE_CHECKING:
  import pandas as pd

# Arrays as large as the parameters that an optimiser keeps: momentum, running squares.
OPTIMISER_SLOTS = {
  "sgd": 1,
  "sgd without momentum": 0,
  "adam": 2,
  "adamw": 2,
  "rmsprop": 2,
  "rmsprop without momentum": 1,
  "adagrad": 1,
}
PARAMETER_BYTES = 4  # parameters, their gradients and the optimiser's slots are float32
INPUT_BYTES = 4  # images enter the network as float32


@dataclasses.dataclass(frozen=True)
class Row:
  """A layer; sizes and costs are of one example, pairs are (height, width).

  Attributes:
    name: its path in the network, `stage1_block1/conv1`.
    kind: its class, or the pooling's name.
    output: the output's shape without the batch; () where it depends on no image.
    parameters: elements of its own parameters.
    multiply_adds: of its convolutions and matrix products, in a forward pass.
    receptive_field: pixels of the image that an output sees, padding included.
    stride: pixels between the fields of neighbouring outputs; None where there is no map.
    kept_bytes: of arrays made in the layer (or by the activations, sums and concatenations
      behind it) that the backward pass needs.
  """

  name: str
  kind: str
  output: tuple[int, ...]
  parameters: int
  multiply_adds: int
  receptive_field: tuple[int, int] | None
  stride: tuple[int, int] | None
  kept_bytes: int


@dataclasses.dataclass(frozen=True)
class Sheet:
  """All layers of a network in the order in which they run.

  Attributes:
    name: the network's.
    image_shape: (height, width, channels) that it was traced with.
    batch_size: examples that memory is counted for.
    optimiser: a key of `OPTIMISER_SLOTS`.
    rows: the layers.
    statistics: elements of its other variables, such as batch norm's moving averages.
  """

  name: str
  image_shape: tuple[int, int, int]
  batch_size: int
  optimiser: str
  rows: tuple[Row, ...]
  statistics: int

  @property
  def parameters(self) -> int:
    """Elements of all parameters."""
    return sum(row.parameters for row in self.rows)

  @property
  def multiply_adds(self) -> int:
    """Multiply-adds of one example's forward pass."""
    return sum(row.multiply_adds for row in self.rows)

  @property
  def receptive_field(self) -> tuple[int, int]:
    """Pixels that one unit of the last layer with a map sees, (height, width); (1, 1) without."""
    fields = [r.receptive_field for r in self.rows if r.stride and r.receptive_field]
    return fields[-1] if fields else (1, 1)

  def memory(self) -> dict[str, int]:
    """Returns the bytes of a training step by source.

    'activations' is the least that must be kept for the backward pass: the inputs of
    convolutions, matrix products and norms, the outputs of activations where the gradient follows
    from them, a byte a maximum for pooling. Compiled steps take more, for arrays that live for a
    moment and for what the compiler chooses to keep: XLA on CPU 1.2 to 2.3 times as much in small
    networks that were measured.
    """
    weights = self.parameters * PARAMETER_BYTES
    return {
      "parameters": weights,
      "gradients": weights,
      "optimiser": weights * OPTIMISER_SLOTS[self.optimiser],
      "statistics": self.statistics * PARAMETER_BYTES,
      "activations": sum(row.kept_bytes for row in self.rows) * self.batch_size,
      "batch": math.prod(self.image_shape) * INPUT_BYTES * self.batch_size,
    }

  def row_memory(self, row: Row) -> dict[str, int]:
    """Returns a layer's bytes by source, as `memory` does for the whole."""
    weights = row.parameters * PARAMETER_BYTES
    return {
      "parameters": weights,
      "gradients": weights,
      "optimiser": weights * OPTIMISER_SLOTS[self.optimiser],
      "activations": row.kept_bytes * self.batch_size,
    }

  def table(self) -> pd.DataFrame:
    """Returns a row a layer; sizes in pixels, memory in bytes for the whole batch."""
    import pandas as pd

    return pd.DataFrame([self.record(row) for row in self.rows])

  def record(self, row: Row) -> dict[str, Any]:
    """Returns a layer as a line of `table` has it."""
    return {
      "layer": row.name,
      "kind": row.kind,
      "output": "x".join(map(str, row.output)),
      "parameters": row.parameters,
      "multiply_adds": row.multiply_adds,
      "receptive_field": _sides(row.receptive_field),
      "stride": _sides(row.stride),
    } | {f"{source}_bytes": size for source, size in self.row_memory(row).items()}

  def to_json(self) -> dict[str, Any]:
    """Returns everything as plain numbers, strings, lists and dicts."""
    memory = self.memory()
    return {
      "name": self.name,
      "image_shape": list(self.image_shape),
      "batch_size": self.batch_size,
      "optimiser": self.optimiser,
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
  optimiser: str = "sgd",
) -> Sheet:
  """Returns the sheet of a network.

  Args:
    model: as `cnnlab.models.create_model` builds it.
    image_shape: (height, width, channels).
    name: for titles; default: the network's class.
    batch_size: examples in a batch.
    optimiser: a key of `OPTIMISER_SLOTS`.

  Raises:
    ShapeError: the image is too small for the network.
    ConfigError: an unknown optimiser, or a batch size below 1.
  """
  if optimiser not in OPTIMISER_SLOTS:
    raise ConfigError(unknown("optimiser", optimiser, OPTIMISER_SLOTS))
  if batch_size < 1:
    raise ConfigError(f"batch_size is {batch_size}; allowed: 1 and more")
  found = trace(model, image_shape)
  others: Mapping = {k: v for k, v in found.variables.items() if k != "params"}
  return Sheet(
    name=name or type(model).__name__,
    image_shape=image_shape,
    batch_size=batch_size,
    optimiser=optimiser,
    rows=tuple(map(_row, found.layers)),
    statistics=count_parameters(jax.tree.leaves(others)),
  )


def _row(layer: Layer) -> Row:
  fields, is_map = layer.fields, len(layer.shape) == 3
  stride = (abs(fields[0].steps[1]), abs(fields[1].steps[2])) if fields and is_map else (0, 0)
  return Row(
    name="/".join(layer.path) or "(the net itself)",
    kind=layer.kind,
    output=layer.shape,
    parameters=layer.parameters,
    multiply_adds=layer.multiply_adds,
    receptive_field=(fields[0].size, fields[1].size) if fields else None,
    stride=stride if all(stride) else None,
    kept_bytes=layer.kept_bytes,
  )


def _sides(sides: tuple[int, int] | None) -> str:
  if sides is None:
    return ""
  return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"
