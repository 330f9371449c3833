"""RetinaNet: "Focal Loss for Dense Object Detection" (arXiv:1708.02002).

Two towers of four 3x3 convolutions, shared by all maps of a feature pyramid, give for each of nine
anchors at each position the logits of independent classes, and offsets of a box (section 4). The
pyramid has P3 to P5 of the encoder, and P6 and P7 of convolutions on top.

  retinanet_resnet50_fpn: torchvision's, with frozen batch norm and 91 classes
  retinanet_*: on any classifier of the zoo, with that one's norm

Scores start at the prior 0.01, so that the loss of the many background anchors is small at first
(section 3.3). Deviation, as in torchvision: P6 is computed from P5, not from the encoder's map. The
class 0 is background's, which has a logit only because published weights have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
from flax import linen as nn

from cnnlab.models.decoder import Maps, around, split_name
from cnnlab.models.fpn import Dense, DetectionNet, Select, by_anchor
from cnnlab.models.ranges import Depth
from cnnlab.nn.init import Initializer, classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import Layer
from cnnlab.types import Options, OptionValue

OUTPUT = "detection"

PRIOR = 0.01
# Octaves of anchor sizes: 32, 40 and 50 pixels at the stride 8.
FACTORS = tuple(4 * 2 ** (i / 3) for i in range(3))


class Tower(nn.Module):
  """3x3 convolutions with ReLU and a last one, the same for each map.

  Attributes:
    layers: conv and act.
    features: channels of the convolutions.
    depth: number of convolutions before the last.
    outputs: channels of the last one.
    bias_init: initial bias of the last one.
  """

  layers: Layers
  features: int
  depth: int
  outputs: int
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, maps: Sequence[jax.Array]) -> list[jax.Array]:
    """Returns [batch, height, width, outputs] for each map [batch, height, width, channels]."""

    def conv(features: int, name: str, bias: Initializer = nn.initializers.zeros) -> Layer:
      return self.layers.conv(
        features,
        3,
        padding=1,
        use_bias=True,
        kernel_init=classifier_normal(),
        bias_init=bias,
        name=name,
      )

    hidden = [conv(self.features, f"conv{i}") for i in range(1, self.depth + 1)]
    last = conv(self.outputs, "head", self.bias_init)
    found = []
    for x in maps:
      for layer in hidden:
        x = self.layers.act(layer(x))
      found.append(last(x))
    return found


class RetinaNet(DetectionNet):
  """Classes and boxes for each anchor of a pyramid.

  Attributes:
    depth: number of convolutions in each tower before the last one.
    others: see `DetectionNet`.
  """

  levels: Depth = 3
  depth: Depth = 4

  @nn.compact
  def __call__(
    self, x: jax.Array, select: Select | None = None, *, train: bool
  ) -> tuple[Dense, Maps]:
    """Returns logits and offsets of each map's anchors, and the maps of encoder and pyramid."""
    layers = self.layers(train=train)
    pyramid = self.pyramid(x, layers, "convolutions", train=train)
    anchors, count = self.anchors(x, pyramid, FACTORS)
    prior = nn.initializers.constant(-math.log((1 - PRIOR) / PRIOR))
    classes = Tower(
      layers, self.features, self.depth, count * self.num_classes, prior, name="class_tower"
    )
    boxes = Tower(layers, self.features, self.depth, count * 4, name="box_tower")
    logits = tuple(by_anchor(found, self.num_classes) for found in classes(pyramid.maps))
    offsets = tuple(by_anchor(found, 4) for found in boxes(pyramid.maps))
    return Dense(logits, offsets, anchors), pyramid.feats


DECODERS: dict[str, Options] = {"retinanet": {}}
SIZES: dict[str, Options] = {"retinanet_resnet50_fpn": {"norm": "frozen_batch"}}


def build(name: str, **options: OptionValue) -> RetinaNet:
  """Returns the net called `name` with the given options replaced."""
  _, encoder = split_name(name.removesuffix("_fpn"), DECODERS)
  return around(RetinaNet, encoder, SIZES.get(name, {}), options)
