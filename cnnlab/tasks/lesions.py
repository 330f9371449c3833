"""Classification whose evaluations also measure the error without some of the network's blocks.

Source: arXiv:1605.06431, section 4: error over the number of removed blocks. Training is that of
`classification`; an evaluation takes 1 + counts x draws forward passes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar

import jax
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array

from cnnlab.annotations import Between, NotEmpty
from cnnlab.errors import ConfigError
from cnnlab.metrics import CLASSIFICATION, Metric
from cnnlab.models.ranges import Depth
from cnnlab.models.removal import outputs_without, random_removals, removable_blocks
from cnnlab.tasks.base import Batch, FeatureSpec, MetricValue, Output, Preprocessing
from cnnlab.tasks.classification import Classification, ClassificationSettings
from cnnlab.types import JsonMapping

ERRORS = "errors_without"
# Blocks keep their shape at any size of image; at this one every network fits.
ANY_IMAGE = (224, 224, 3)


@dataclasses.dataclass(frozen=True)
class LesionSettings(ClassificationSettings):
  """Keys of the config's `task` section, beside those of classification.

  Attributes:
    removed: numbers of blocks that are removed.
    draws: random choices of the blocks for each number; they depend on the number of blocks alone.
  """

  removed: Annotated[tuple[Depth, ...], NotEmpty()] = (1, 2, 4)
  draws: Annotated[int, Between(1, 1000)] = 4


@dataclasses.dataclass(frozen=True)
class Lesions(Classification):
  """Softmax classification, measured with and without blocks; see `cnnlab.models.removal`.

  Attributes:
    removed, draws: see `LesionSettings`.
  """

  removed: tuple[int, ...] = (1, 2, 4)
  draws: int = 4

  Settings: ClassVar = LesionSettings
  metrics: ClassVar = (
    *CLASSIFICATION,
    Metric("error_without", "error after removal", "%", 100.0, per_class=True),
    Metric("error_added", "error added by removal", "%", 100.0, per_class=True),
  )

  @classmethod
  def create(  # type: ignore[override]
    cls, settings: LesionSettings, features: Mapping[str, FeatureSpec]
  ) -> Lesions:
    """Returns the task."""
    whole = Classification.create(settings, features)
    own = settings.removed, settings.draws
    return cls(whole.class_names, whole.label_smoothing, whole.auxiliary_weight, *own)

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the model; ConfigError if it has fewer removable blocks than are to be removed."""
    model = super().network(options, dtype)
    self._removals(removable_blocks(model, ANY_IMAGE))
    return model

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError where several crops of an image are asked for."""
    if preprocess.eval_crops != "center":
      raise ConfigError(
        f"config key 'data.eval_crops' is {preprocess.eval_crops!r}, which the task 'lesions' "
        "cannot merge; use 'center'"
      )

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Array]:
    """Returns the batch and the logits of the whole network; with labels, errors without blocks."""
    batch, out = super().evaluate(model, variables, preprocess, batch)
    if "label" not in batch:  # of a prediction
      return batch, out
    image = batch["image"]
    blocks = removable_blocks(model, image.shape[1:])
    outs = outputs_without(model, variables, image, blocks, self._removals(blocks))
    wrong = jax.vmap(lambda out: self.example_metrics(out, batch)["error"])(outs)
    each = wrong.reshape(len(self.removed), self.draws, -1).mean(axis=1)
    return {**batch, ERRORS: each.T}, out

  def _removals(self, blocks: tuple[str, ...]) -> np.ndarray:
    flags = random_removals(len(blocks), self.removed, self.draws)
    return flags.reshape(-1, len(blocks))

  def collect(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns the error of each example with and without blocks."""
    return {"error": self.example_metrics(out, batch)["error"], ERRORS: batch[ERRORS]}

  def accumulator(self) -> LesionErrors:
    """Returns the sums of a split."""
    return LesionErrors(self.removed)


class LesionErrors:
  """Mean errors over a split, by the number of removed blocks."""

  def __init__(self, removed: tuple[int, ...]):
    self.removed = removed
    self._count, self._whole, self._without = 0, 0, np.zeros(len(removed))

  def add(self, rows: Mapping[str, np.ndarray]) -> None:
    """Takes what `Lesions.collect` returned for a batch."""
    self._count += len(rows["error"])
    self._whole += int(rows["error"].sum())
    self._without += rows[ERRORS].sum(axis=0, dtype=np.float64)

  def result(self) -> dict[str, MetricValue]:
    """Returns the errors by number of blocks, as fractions, and what they add to the error."""
    without = self._without / self._count
    names = list(map(str, self.removed))
    return {
      "error_without": dict(zip(names, map(float, without), strict=True)),
      "error_added": dict(zip(names, map(float, without - self._whole / self._count), strict=True)),
    }
