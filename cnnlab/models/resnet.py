"""Deep Residual Learning (arXiv:1512.03385), table 1: ResNets for ImageNet and their descendants.

A stem, four stages of blocks with 64, 128, 256 and 512 filters, average pooling and a classifier:

  18: 2,2,2,2 basic      34: 3,4,6,3 basic       50: 3,4,6,3 bottleneck
  101: 3,4,23,3          152: 3,8,36,3           200: 3,24,36,3 (arXiv:1603.05027)

`plain18` and `plain34` have no shortcuts. `resnext*_CxWd` (arXiv:1611.05431) split a bottleneck's
3x3 convolution into C groups of W channels in the first stage; `wide_resnet*_2`
(arXiv:1605.07146) double its channels. `preact` is arXiv:1603.05027's block.

Deviations, all as in torchvision: the stride of a bottleneck is in its 3x3 convolution
(`bottleneck_stride='1x1'` is as published), and 18 and 34 have projections where the size changes
(shortcut 'B'; table 2 of the paper has 'A'). The classifier starts at N(0, 0.01). With `preact` the
stem is a bare convolution and pooling: the first block's norm and activation follow.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, scaled
from cnnlab.models.ranges import Classes, Depth, Window
from cnnlab.models.residual import ResidualNet
from cnnlab.models.stem import STEM_STRIDE, Stem, apply_stem, check_stem
from cnnlab.nn import make_layers
from cnnlab.types import Options, OptionValue

STAGE_FILTERS = (64, 128, 256, 512)
FourStages: TypeAlias = tuple[Depth, Depth, Depth, Depth]
SevenStages: TypeAlias = tuple[Depth, Depth, Depth, Depth, Depth, Depth, Depth]


class ResNet(ResidualNet):
  """A residual net of four stages, or its plain twin.

  Attributes:
    blocks: number of blocks in each stage: four, or seven for DeepLab's cascade, whose later ones
      repeat the fourth's filters.
    bottleneck_stride: the convolution of a bottleneck that has the stride.
    stem: 'imagenet' reduces the image by 4, 'cifar' keeps its size.
    stem_pool: pooling of ImageNet's stem; 'stride' moves it into the convolution.
    zero_init_residual: initialize every branch to zero (arXiv:1706.02677, 5.1), by the scale of
      its last norm, which must have a learned one.
    output_stride: largest total stride; stages beyond it dilate instead.
    multi_grid: factors of the dilation in the blocks of the fourth stage and later ones, in turn
      (arXiv:1706.05587, section 3.2.1).
    others: see `ResidualNet`; `width` applies to the stem as well.
  """

  num_classes: Classes = 1000
  blocks: FourStages | SevenStages = (2, 2, 2, 2)
  bottleneck_stride: Literal["3x3", "1x1"] = "3x3"
  stem: Stem = "imagenet"
  stem_pool: Downsample = "max"
  zero_init_residual: bool = False
  output_stride: Literal[256, 128, 64, 32, 16, 8, 4, 2, 1] = 32
  multi_grid: tuple[Window, Window, Window] = (1, 1, 1)

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps after the stem and each stage."""
    halvings = self._halvings()
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    block = self.block(layers, stride_at=self.bottleneck_stride, zero_init=self.zero_init_residual)
    total = STEM_STRIDE[self.stem] * 2**halvings
    check_stem(
      x.shape, self.stem, total, f"resnet of blocks {self.blocks}", classifies=self.num_classes > 0
    )
    features = scaled(STAGE_FILTERS[0], self.width)
    x = x.astype(layers.dtype)
    # Maps of [B,H/2,W/2,64] and [B,H/4,W/4,64].
    stem = apply_stem(x, features, layers, self.stem, self.stem_pool, activate=not self.preact)
    filters = STAGE_FILTERS + STAGE_FILTERS[-1:] * (len(self.blocks) - len(STAGE_FILTERS))
    x, feats = self.stages(
      stem["stem"], block, self.blocks, filters, halvings, self.multi_grid, train=train
    )
    # x: [B,H/32,W/32,512], or 2048 channels with bottlenecks
    return self.classify(x, stem | feats, layers)

  def _halvings(self) -> int:
    """Returns the number of stages that halve the map; ConfigError for an impossible stride."""
    within = self.output_stride // STEM_STRIDE[self.stem]
    if not within:
      raise ConfigError(
        f"output_stride: stem='imagenet' alone has a stride of 4, not {self.output_stride}; "
        "allowed: 32, 16, 8, 4, or stem='cifar'"
      )
    return min(within.bit_length() - 1, len(self.blocks) - 1)


DEPTHS: dict[int, Options] = {
  18: {"blocks": (2, 2, 2, 2)},
  34: {"blocks": (3, 4, 6, 3)},
  50: {"blocks": (3, 4, 6, 3), "bottleneck": True},
  101: {"blocks": (3, 4, 23, 3), "bottleneck": True},
  152: {"blocks": (3, 8, 36, 3), "bottleneck": True},
  200: {"blocks": (3, 24, 36, 3), "bottleneck": True},
}
# arXiv:1611.05431, tables 3 and 4, and torchvision's 32x8d.
CARDINALITIES = {
  50: ((2, 40), (4, 24), (8, 14), (32, 4)),
  101: ((2, 40), (4, 24), (8, 14), (32, 4), (2, 64), (32, 8), (64, 4)),
}
SIZES: dict[str, Options] = {
  **{f"plain{depth}": {**DEPTHS[depth], "residual": False} for depth in (18, 34)},
  **{f"resnet{depth}": options for depth, options in DEPTHS.items()},
  **{
    f"resnext{depth}_{groups}x{width}d": {
      **DEPTHS[depth],
      "cardinality": groups,
      "base_width": width,
    }
    for depth, pairs in CARDINALITIES.items()
    for groups, width in pairs
  },
  **{f"wide_resnet{depth}_2": {**DEPTHS[depth], "base_width": 128} for depth in (50, 101)},
}


def build(name: str, **options: OptionValue) -> ResNet:
  """Returns the net called `name` with the given options replaced."""
  return ResNet(**{**SIZES[name], **options})
