"""Residual nets for CIFAR: arXiv:1512.03385 (section 4.2), their plain twins, wide ones and ResNeXts.

A 3x3 convolution, three stages on maps of 32, 16 and 8 pixels, average pooling and a classifier:

  resnet20..1202, plain20..1202: 6n+2 layers, n blocks of two 3x3 convolutions a stage, 16, 32 and
    64 filters, parameter-free shortcuts (option A): table 6
  preresnet110, 164, 1001: pre-activation (arXiv:1603.05027, table 4), 110 with two 3x3
    convolutions, 164 and 1001 with bottlenecks of 9n+2 layers; projections where channels change
  wrn<d>_<k>: wide pre-activation nets (arXiv:1605.07146, table 1) of d = 6n+4 layers with k times
    the filters after a stem of 16
  resnext29_<C>x<W>d: arXiv:1611.05431, section 5.3: three bottlenecks a stage, their 3x3
    convolution in C groups of W channels, outputs of 256, 512 and 1024 channels

Deviation: the first paper does not say on which side option A's zero channels lie; here they come
last, with shortcut_padding='both' half of them first, as in some ports. The classifier starts at N(0, 0.01), all convolutions at Kaiming fan-out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import jax
from flax import linen as nn

from cnnlab.annotations import Between
from cnnlab.models.downsampling import scaled
from cnnlab.models.ranges import Channels, Depth, Dropout
from cnnlab.models.residual import ResidualNet, Shortcut
from cnnlab.nn import check_image, make_layers
from cnnlab.types import Options, OptionValue

HALVINGS = {4: 2, 2: 1, 1: 0}


class ResNetCifar(ResidualNet):
  """A CIFAR residual net of three stages, or its plain twin.

  Attributes:
    blocks: n, the number of blocks in each of the three stages.
    filters: filters of each stage; a bottleneck block has four times as many outputs.
    stem_filters: filters of the first convolution, not multiplied by `width`; 0 for as many as
      the first stage has.
    dropout: dropout rate at the input of a block's last convolution, as in wide nets.
    output_stride: 4 as published; 2 and 1 dilate instead of halving, for dense prediction.
    others: see `ResidualNet`; an integer `width` of 2 or more makes a wide net.
  """

  blocks: Depth = 3
  filters: tuple[Channels, Channels, Channels] = (16, 32, 64)
  stem_filters: Annotated[int, Between(0, 1_000_000)] = 0
  shortcut: Shortcut = "A"
  dropout: Dropout = 0.0
  output_stride: Literal[4, 2, 1] = 4

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps after the stem and each stage."""
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    block = self.block(layers, dropout=self.dropout)
    depth = 3 * self.blocks * (3 if self.bottleneck else 2) + 2
    check_image(x.shape, self.output_stride, f"resnet_cifar of {depth} layers")
    features = self.stem_filters or scaled(self.filters[0], self.width)
    x = layers.conv(features, 3, padding=1, name="conv1")(x.astype(layers.dtype))
    if not self.preact:
      x = layers.act(layers.norm(name="norm1")(x))
    # x: [B,H,W,16]
    counts, halvings = (self.blocks,) * len(self.filters), HALVINGS[self.output_stride]
    x, feats = self.stages(x, block, counts, self.filters, halvings, train=train)
    # x: [B,H/4,W/4,64]
    return self.classify(x, feats, layers)


PREACT = {"preact": True, "shortcut": "B"}
# arXiv:1605.07146, tables 4 and 5.
WIDE = {16: (1, 2, 4, 8, 10), 22: (8, 10), 28: (10, 12), 40: (1, 2, 4, 8)}
# arXiv:1611.05431, figure 7 and table 7; 1x64d is the ordinary bottleneck net.
CARDINALITIES = ((1, 64), (2, 64), (4, 64), (8, 64), (16, 64), (32, 4), (1, 128), (1, 256))
SIZES: dict[str, Options] = {
  **{
    f"{family}{6 * n + 2}": {"blocks": n, "residual": family == "resnet"}
    for family in ("resnet", "plain")
    for n in (3, 5, 7, 9, 18, 200)
  },
  "preresnet110": {"blocks": 18, "preact": True},
  **{
    f"preresnet{9 * n + 2}": {"blocks": n, "bottleneck": True, "stem_filters": 16, **PREACT}
    for n in (18, 111)
  },
  **{
    f"wrn{depth}_{k}": {"blocks": (depth - 4) // 6, "width": float(k), "stem_filters": 16, **PREACT}
    for depth, widths in WIDE.items()
    for k in widths
  },
  **{
    f"resnext29_{groups}x{width}d": {
      "filters": (64, 128, 256),
      "bottleneck": True,
      "cardinality": groups,
      "base_width": width,
      "shortcut": "B",
    }
    for groups, width in CARDINALITIES
  },
}


def build(name: str, **options: OptionValue) -> ResNetCifar:
  """Returns the net called `name` with the given options replaced."""
  return ResNetCifar(**{**SIZES[name], **options})
