"""What a detector is trained towards: true boxes, which anchors and proposals are theirs, and samples.

Arrays have the batch first. Classes are counted from 1, since 0 is background.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from cnnlab.boxes import (
  BACKGROUND,
  BETWEEN,
  Thresholds,
  areas,
  balanced_sample,
  chosen,
  iou,
  match,
  shared_areas,
)
from cnnlab.boxes.matching import BOX_HEAD
from cnnlab.errors import DataError
from cnnlab.models.fpn import Select
from cnnlab.tasks.base import Batch, FeatureSpec

CROWDED = 0.5  # share of its area within a crowd from which an anchor is not background


class Truth(NamedTuple):
  """The true boxes of a batch, padded.

  Attributes:
    boxes: float32 [batch, most, 4] in pixels of the network's input.
    classes: int32 [batch, most], from 1.
    valid: bool [batch, most], the boxes of single objects.
    crowd: bool [batch, most], boxes of groups and of objects that are too difficult, which count
      neither as objects nor as background; None where the data set tells of none.
  """

  boxes: Array
  classes: Array
  valid: Array
  crowd: Array | None


class Targets(NamedTuple):
  """What anchors or proposals should become.

  Attributes:
    classes: int32 [batch, n], 0 for background.
    boxes: float32 [batch, n, 4], of the object; any where there is none.
    positive: bool [batch, n], of an object.
    negative: bool [batch, n], background; what is neither counts for nothing.
  """

  classes: Array
  boxes: Array
  positive: Array
  negative: Array


def object_names(task: str, features: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
  """Returns the names of a data set's objects; DataError, which names the task, without any."""
  names = tuple(features["box_labels"].names)
  if not names:
    raise DataError(f"task {task!r}: the feature 'box_labels' of the data set has no class names")
  return names


def truth_of(batch: Batch) -> Truth:
  """Returns the true boxes of a preprocessed batch; its feature `box_crowd` may be missing."""
  valid = batch["boxes_valid"].astype(bool)
  classes, boxes = batch["box_labels"].astype(jnp.int32) + 1, batch["boxes"].astype(jnp.float32)
  if "box_crowd" not in batch:
    return Truth(boxes, classes, valid, None)
  crowd = batch["box_crowd"].astype(bool)
  return Truth(boxes, classes, valid & ~crowd, valid & crowd)


def targets_of(truth: Truth, boxes: Array, thresholds: Thresholds) -> Targets:
  """Returns what each anchor or proposal should become.

  Args:
    truth: the true boxes.
    boxes: [n, 4] of anchors, or [batch, n, 4] of proposals.
    thresholds: of the overlap.
  """

  def of_image(truth: Truth, boxes: Array) -> Targets:
    found = match(iou(truth.boxes, boxes), truth.valid, thresholds)
    if truth.crowd is not None:
      crowded = _most_within(boxes, truth.boxes, truth.crowd) >= CROWDED
      found = jnp.where((found == BACKGROUND) & crowded, BETWEEN, found)
    positive, index = found >= 0, jnp.maximum(found, 0)
    classes = jnp.where(positive, truth.classes[index], 0)
    return Targets(classes, truth.boxes[index], positive, found == BACKGROUND)

  return jax.vmap(of_image, (0, None if boxes.ndim == 2 else 0))(truth, boxes)


def _most_within(boxes: Array, others: Array, valid: Array) -> Array:
  """Returns the largest share of each box [n, 4] that lies within one of the others, [n]."""
  share = shared_areas(boxes[:, None], others[None]) / jnp.maximum(areas(boxes), 1e-6)[:, None]
  return jnp.where(valid, share, 0).max(axis=1, initial=0)


def sampled(key: Array, targets: Targets, size: int, fraction: float) -> tuple[Array, Array]:
  """Returns masks [batch, n] of the positives and negatives that are drawn in each image.

  Args:
    key: random key.
    targets: of anchors or proposals.
    size, fraction: number that is drawn, and the largest share of positives among them.
  """
  keys = jax.random.split(key, len(targets.positive))
  draw = jax.vmap(lambda key, yes, no: balanced_sample(key, yes, no, size, fraction))
  return draw(keys, targets.positive, targets.negative)


def second_stage(truth: Truth, size: int, fraction: float) -> Select:
  """Returns the function that samples what the second stage of a detector is trained on.

  True boxes are among the candidates, so that there are positives from the start, as in torchvision
  and Detectron.

  Args:
    truth: the true boxes.
    size, fraction: number of boxes of an image, and the largest share of positives among them.
  """

  def select(boxes: Array, valid: Array, key: Array) -> tuple[Array, Array]:
    boxes = jnp.concatenate([boxes, truth.boxes], axis=1)
    valid = jnp.concatenate([valid, truth.valid], axis=1)
    targets = targets_of(truth, boxes, BOX_HEAD)
    drawn = targets._replace(positive=targets.positive & valid, negative=targets.negative & valid)
    positive, negative = sampled(key, drawn, size, fraction)
    indices, mask = jax.vmap(lambda mask: chosen(mask, size))(positive | negative)
    return jnp.take_along_axis(boxes, indices[..., None], axis=1), mask

  return select
