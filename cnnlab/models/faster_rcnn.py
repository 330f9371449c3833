"""Faster R-CNN (arXiv:1506.01497) on a Feature Pyramid Network (arXiv:1612.03144).

A region proposal network, shared by all maps of the pyramid, scores three anchors at each position and
shifts them. Its best boxes are proposals, from which RoI align takes 7x7 maps for two fully
connected layers, logits of the classes and a box for each class.

  fasterrcnn_resnet50_fpn: torchvision's, with frozen batch norm and 91 classes
  fasterrcnn_*: on any classifier of the zoo, with that one's norm

Deviations, as in torchvision: RoI align in place of RoI pooling, and no norm in the heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cnnlab.boxes import clip, decode, large_enough, nms, roi_align
from cnnlab.models.decoder import Maps, around, split_name
from cnnlab.models.fpn import SAMPLING, Dense, DetectionNet, Select, by_anchor
from cnnlab.models.ranges import Boxes, Channels
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

OUTPUT = "detection"

FACTORS = (8.0,)  # sizes of anchors over the stride
OVERLAP = 0.7  # IoU above which a proposal is dropped for a better one of its map
SMALLEST = 1e-3  # side of a proposal, in pixels
BINS = 7


class TwoStage(NamedTuple):
  """What Faster R-CNN computes.

  Attributes:
    rpn: of each anchor; the only class is that it shows an object.
    boxes: [batch, boxes, 4], what the head classifies.
    valid: mask [batch, boxes] of those that are not padding.
    logits: [batch, boxes, classes], float32; the class 0 is background.
    offsets: [batch, boxes, classes, 4], float32, of each class's box from `boxes`.
  """

  rpn: Dense
  boxes: jax.Array
  valid: jax.Array
  logits: jax.Array
  offsets: jax.Array


class RegionProposals(nn.Module):
  """A 3x3 convolution and 1x1 convolutions to scores and offsets, the same for each map.

  Attributes:
    layers: conv and act.
    features: channels of the 3x3 convolution.
    anchors: number of anchors at a position.
  """

  layers: Layers
  features: int
  anchors: int

  @nn.compact
  def __call__(
    self, maps: Sequence[jax.Array]
  ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Returns logits [batch, anchors, 1] and offsets [batch, anchors, 4] of each map."""
    conv = partial(self.layers.conv, use_bias=True, kernel_init=classifier_normal())
    shared = conv(self.features, 3, padding=1, name="conv")
    score, shift = conv(self.anchors, 1, name="score"), conv(4 * self.anchors, 1, name="shift")
    hidden = [self.layers.act(shared(x)) for x in maps]
    logits = tuple(by_anchor(score(x), 1) for x in hidden)
    return logits, tuple(by_anchor(shift(x), 4) for x in hidden)


class BoxHead(nn.Module):
  """Two fully connected layers, logits, and offsets for each class (1612.03144, section 4.2).

  Attributes:
    layers: dense and act.
    hidden: outputs of the fully connected layers.
    num_classes: number of classes, with background.
  """

  layers: Layers
  hidden: int
  num_classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns logits [batch, boxes, classes] and offsets [batch, boxes, classes, 4].

    Args:
      x: [batch, boxes, height, width, channels].
    """
    x = x.reshape(*x.shape[:2], -1)
    dense = self.layers.dense
    for name in ("fc6", "fc7"):
      x = self.layers.act(dense(self.hidden, kernel_init=kaiming_fan_in(), name=name)(x))
    logits, offsets = Predictor(self.layers, self.num_classes, name="head")(x)
    offsets = offsets.reshape(*x.shape[:2], self.num_classes, 4)
    return logits.astype(jnp.float32), offsets.astype(jnp.float32)


class Predictor(nn.Module):
  """The last layers of the second stage, which are new where the classes are.

  Attributes:
    layers: dense.
    num_classes: number of classes, with background.
  """

  layers: Layers
  num_classes: int

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns logits [..., classes] and offsets [..., classes * 4] of features [..., features]."""
    dense = self.layers.dense
    logits = dense(self.num_classes, kernel_init=classifier_normal(), name="classes")(x)
    shift = dense(4 * self.num_classes, kernel_init=classifier_normal(0.001), name="boxes")
    return logits, shift(x)


class FasterRCNN(DetectionNet):
  """Proposals on a pyramid, and their classes and boxes.

  Attributes:
    hidden: outputs of the fully connected layers.
    train_proposals: largest number of proposals in training, and from each map.
    proposals: the same in evaluation.
    others: see `DetectionNet`.
  """

  hidden: Channels = 1024
  train_proposals: Boxes = 2000
  proposals: Boxes = 1000

  @nn.compact
  def __call__(
    self, x: jax.Array, select: Select | None = None, *, train: bool
  ) -> tuple[TwoStage, Maps]:
    """Returns the results of both stages, and the maps of encoder and pyramid.

    Args:
      x: images.
      select: what the second stage gets in place of the proposals: in training, a sample with true
        boxes among it. No gradient passes through the boxes.
      train: whether to train.
    """
    layers = self.layers(train=train)
    pyramid = self.pyramid(x, layers, "subsampled", train=train)
    maps, strides = pyramid.maps, pyramid.strides
    size = x.shape[1], x.shape[2]
    anchors, count = self.anchors(x, pyramid, FACTORS)
    logits, offsets = RegionProposals(layers, self.features, count, name="rpn")(maps)
    rpn = Dense(logits, offsets, anchors)
    most = self.train_proposals if train else self.proposals
    boxes, valid = propose(rpn, size, most)
    if select is not None:
      boxes, valid = select(boxes, valid, self.make_rng(SAMPLING))
    boxes = lax.stop_gradient(boxes)
    align = jax.vmap(partial(roi_align, strides=strides, size=BINS))
    aligned = align(maps[: len(strides)], boxes)
    head = BoxHead(layers, self.hidden, self.num_classes, name="box")
    return TwoStage(rpn, boxes, valid, *head(aligned)), pyramid.feats


def propose(rpn: Dense, size: tuple[int, int], most: int) -> tuple[jax.Array, jax.Array]:
  """Returns the best boxes of each image [batch, most, 4], and the mask [batch, most] of them.

  The `most` best anchors of each map are shifted and clipped; boxes without area, and those that
  overlap a better one of the same map, are dropped (arXiv:1506.01497, 3.3; torchvision's order).

  Args:
    rpn: of each anchor.
    size: (height, width) of the image.
    most: number of boxes.
  """

  def of_image(
    logits: Sequence[jax.Array], offsets: Sequence[jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    boxes, scores, level = [], [], []
    for i, anchors in enumerate(rpn.anchors):
      best, chosen = lax.top_k(logits[i][:, 0], min(most, len(anchors)))
      boxes.append(clip(decode(offsets[i][chosen], jnp.asarray(anchors)[chosen]), size))
      scores.append(best)
      level.append(jnp.full(best.shape, i))
    found = jnp.concatenate(boxes)
    valid = large_enough(found, SMALLEST)
    kept, mask = nms(
      found, jnp.concatenate(scores), valid, OVERLAP, most, classes=jnp.concatenate(level)
    )
    return jnp.where(mask[:, None], found[kept], 0), mask

  return jax.vmap(of_image)(*lax.stop_gradient((rpn.logits, rpn.offsets)))


DECODERS: dict[str, Options] = {"fasterrcnn": {}}
SIZES: dict[str, Options] = {"fasterrcnn_resnet50_fpn": {"norm": "frozen_batch"}}


def build(name: str, **options: OptionValue) -> FasterRCNN:
  """Returns the net called `name` with the given options replaced."""
  _, encoder = split_name(name.removesuffix("_fpn"), DECODERS)
  return around(FasterRCNN, encoder, SIZES.get(name, {}), options)
