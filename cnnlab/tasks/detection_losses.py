"""Losses of detectors: each is the sum over images of an image's loss, float32.

Within an image, losses are divided by the number of positive anchors (one stage, arXiv:1708.02002,
section 4.1), or by the number of sampled ones (two stages, arXiv:1506.01497, section 3.1.2).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from cnnlab.boxes import encode
from cnnlab.boxes.coding import BOX_HEAD as HEAD_WEIGHTS
from cnnlab.boxes.matching import BOX_HEAD, RETINANET, RPN
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import Dense
from cnnlab.tasks.detection_targets import Truth, sampled, targets_of

RPN_POSITIVES = 0.5  # largest share of positives in a sample of anchors


@dataclasses.dataclass(frozen=True)
class OneStageLoss:
  """Sigmoid losses of all anchors, or of a sample of them, and of the boxes of the positive ones.

  Attributes:
    gamma, alpha: of the focal loss; an `alpha` of 0 weighs positives and negatives alike.
    sample: number of anchors that are drawn in each image; 0: all count.
    beta: see `smooth_l1`.
    box_weight: weight of the boxes' loss.
  """

  gamma: float
  alpha: float
  sample: int
  beta: float
  box_weight: float

  def __call__(self, out: Dense, truth: Truth, key: Array) -> Array:
    """Returns the loss summed over images.

    Args:
      out: what the network returned.
      truth: the true boxes.
      key: of the sample.
    """
    anchors = jnp.concatenate(out.anchors)
    targets = targets_of(truth, anchors, RETINANET)
    logits, offsets = (jnp.concatenate(one, axis=1) for one in (out.logits, out.offsets))
    counted = targets.positive | targets.negative
    if self.sample:
      positive, negative = sampled(key, targets, self.sample, RPN_POSITIVES)
      counted = positive | negative
    truths = jax.nn.one_hot(targets.classes, logits.shape[-1]).at[..., 0].set(0)
    classes = sigmoid_focal(logits, truths, self.gamma, self.alpha).sum(-1)
    boxes = smooth_l1(offsets - encode(targets.boxes, anchors), self.beta).sum(-1)
    positives = jnp.maximum(targets.positive.sum(-1), 1)
    total = jnp.where(counted, classes, 0).sum(-1)
    total += self.box_weight * jnp.where(targets.positive, boxes, 0).sum(-1)
    return jnp.sum(total / positives)


@dataclasses.dataclass(frozen=True)
class TwoStageLoss:
  """Losses of proposals and of what becomes of them, each of a sample (torchvision's form).

  Attributes:
    rpn_sample: number of anchors that are drawn in each image.
    beta, box_weight: as of `OneStageLoss`.
  """

  rpn_sample: int
  beta: float
  box_weight: float

  def __call__(self, out: TwoStage, truth: Truth, key: Array) -> Array:
    """Returns the loss summed over images; arguments are those of `OneStageLoss`."""
    return jnp.sum(self._proposals(out.rpn, truth, key) + self.of_boxes(out, truth))

  def _proposals(self, rpn: Dense, truth: Truth, key: Array) -> Array:
    anchors = jnp.concatenate(rpn.anchors)
    targets = targets_of(truth, anchors, RPN)
    positive, negative = sampled(key, targets, self.rpn_sample, RPN_POSITIVES)
    logits, offsets = (jnp.concatenate(one, axis=1) for one in (rpn.logits, rpn.offsets))
    objects = sigmoid_focal(logits[..., 0], positive.astype(jnp.float32), 0.0, 0.0)
    boxes = smooth_l1(offsets - encode(targets.boxes, anchors), self.beta).sum(-1)
    total = jnp.where(positive | negative, objects, 0).sum(-1)
    total += self.box_weight * jnp.where(positive, boxes, 0).sum(-1)
    return total / jnp.maximum((positive | negative).sum(-1), 1)

  def of_boxes(self, out: TwoStage, truth: Truth) -> Array:
    """Returns the loss of the second stage for each image, [batch]."""
    targets = targets_of(truth, out.boxes, BOX_HEAD)  # as they were when the boxes were drawn
    own = targets.classes[..., None]
    log_probability = jax.nn.log_softmax(out.logits)
    classes = -jnp.take_along_axis(log_probability, own, axis=-1)[..., 0]
    offsets = jnp.take_along_axis(out.offsets, own[..., None], axis=-2)[..., 0, :]
    wanted = encode(targets.boxes, out.boxes, HEAD_WEIGHTS)
    boxes = smooth_l1(offsets - wanted, self.beta).sum(-1)
    total = jnp.where(out.valid, classes, 0).sum(-1)
    total += self.box_weight * jnp.where(out.valid & targets.positive, boxes, 0).sum(-1)
    return total / jnp.maximum(out.valid.sum(-1), 1)


def sigmoid_focal(logits: Array, truths: Array, gamma: float, alpha: float) -> Array:
  """Returns -w (1 - p)^gamma log p of independent decisions (arXiv:1708.02002, equation 5).

  p is the probability of what is true, and w is `alpha` where that is 1, else 1 - `alpha`.

  Args:
    logits: any shape.
    truths: 0 or 1, of the same shape.
    gamma: how much less decisions count that are certain and right; 0 is cross-entropy.
    alpha: see above; 0: w is 1.
  """
  sign = 2 * truths - 1
  losses = -jax.nn.log_sigmoid(sign * logits)
  if gamma:
    # Not as a power, whose gradient is not finite at 0.
    losses *= jnp.exp(gamma * jax.nn.log_sigmoid(-sign * logits))
  return losses * jnp.where(truths > 0, alpha, 1 - alpha) if alpha else losses


def smooth_l1(distances: Array, beta: float) -> Array:
  """Returns |d| - beta / 2, and d² / (2 beta) where |d| is below `beta` (Fast R-CNN, eq. 3)."""
  size = jnp.abs(distances)
  if not beta:
    return size
  return jnp.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)
