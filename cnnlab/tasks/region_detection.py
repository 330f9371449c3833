"""Detection from proposals that come with the images: R-CNN and Fast R-CNN.

The data set has the feature `proposals` (`data.proposals`), and `model.name` is the trunk, a classifier.
All else is that of `cnnlab.tasks.detection`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.annotations import Count
from cnnlab.errors import ConfigError
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.regions import region_net, whole_image
from cnnlab.models.registry import require_output
from cnnlab.proposals.selective_search import selective_search
from cnnlab.tasks.base import Batch, Features, Loss, Output, Preprocessing
from cnnlab.tasks.detection import Detection, DetectionSettings, Evaluated
from cnnlab.tasks.detection_losses import TwoStageLoss
from cnnlab.tasks.detection_targets import second_stage, truth_of
from cnnlab.types import JsonMapping, PyTree


@dataclasses.dataclass(frozen=True)
class RegionDetectionSettings(DetectionSettings):
  """Keys of the config's `task` section: those of detectors with two stages, and this one.

  Attributes:
    proposals: how many of an image's proposals are classified; the data set's further ones are left
      out.
  """

  proposals: Count = 100


@dataclasses.dataclass(frozen=True)
class RegionDetection(Detection):
  """Classes and boxes of given proposals; see `Detection`."""

  settings: RegionDetectionSettings

  Settings: ClassVar = RegionDetectionSettings
  needs: ClassVar = {**Detection.needs, "proposals": "boxes"}

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the network of proposals around the classifier that `options` names."""
    options, classes = dict(options), len(self.class_names) + 1
    trunk = options.pop("name")
    require_output(trunk, "classification")
    if options.pop("num_classes", classes) != classes:
      raise ConfigError(
        f"config key 'model.num_classes': the data have {classes - 1} classes: leave it out"
      )
    return region_net(trunk, num_classes=classes, dtype=dtype, **options)

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError unless all settings have an effect."""
    super().check(out, preprocess)
    if self.settings.rpn_sample != DetectionSettings().rpn_sample:
      raise ConfigError(
        "config key 'task.rpn_sample' has no effect where proposals are given: leave it out"
      )

  def inputs(self, batch: Batch, *, train: bool) -> tuple[PyTree, ...]:
    """Returns images, proposals and their mask; in training the function that samples them, too.

    Without proposals, where only shapes matter, each of them is the whole image.
    """
    count = self.settings.proposals
    if "proposals" in batch:
      boxes, valid = batch["proposals"][:, :count], batch["proposals_valid"][:, :count]
    else:
      boxes, valid = whole_image(batch["image"], count)
    if not train:
      return batch["image"], boxes, valid
    select = second_stage(truth_of(batch), self.settings.box_sample, self.settings.box_positives)
    return batch["image"], boxes, valid, select

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Evaluated]:
    """Returns the batch and what is found; an image without proposals gets those of selective search."""
    if "proposals" not in batch:
      count, images = self.settings.proposals, batch["image"]
      shapes = (
        jax.ShapeDtypeStruct((len(images), count, 4), jnp.float32),
        jax.ShapeDtypeStruct((len(images), count), bool),
      )
      boxes, valid = jax.pure_callback(lambda given: _proposed(given, count), shapes, images)
      batch = {**batch, "proposals": boxes, "proposals_valid": valid}
    return super().evaluate(model, variables, preprocess, batch)

  def loss(self, out: TwoStage, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the sum of the images' losses, and the number of images."""
    s, truth = self.settings, truth_of(batch)
    losses = TwoStageLoss(s.rpn_sample, s.beta, s.box_weight).of_boxes(out, truth)
    return Loss(jnp.sum(losses), float(len(truth.boxes)))


def _proposed(images: Array, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns proposals [batch, count, 4] of stored images, and their mask; on the host."""
  boxes = np.zeros((len(images), count, 4), np.float32)
  valid = np.zeros((len(images), count), bool)
  for i, image in enumerate(np.asarray(images)):
    found = selective_search(image, count)
    boxes[i, : len(found)], valid[i, : len(found)] = found, True
  return boxes, valid
