"""Deep Residual Learning (arXiv:1512.03385), table 1: ResNets for ImageNet, and what grew of them.

A stem, four stages of blocks with 64, 128, 256 and 512 filters, average pooling and a classifier:

  18: 2,2,2,2 basic      34: 3,4,6,3 basic       50: 3,4,6,3 bottleneck
  101: 3,4,23,3          152: 3,8,36,3           200: 3,24,36,3 (arXiv:1603.05027)

`plain18` and `plain34` have no shortcuts. `resnext*_CxWd` (arXiv:1611.05431) split a bottleneck's
3x3 convolution into C groups of W channels in the first stage; `wide_resnet*_2`
(arXiv:1605.07146) double its channels. `preact` is arXiv:1603.05027's block.

Deviations, all torchvision's: the stride of a bottleneck lies in its 3x3 convolution
(`bottleneck_stride='1x1'` is as published), and 18 and 34 have projections where the size changes
(shortcut 'B'; table 2 of the paper has 'A'). The classifier starts at N(0, 0.01). With `preact` the
stem is a bare convolution and pooling: the first block's norm and activation follow.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, scaled
from cnnlab.models.residual import Branch, Shortcut, Trunk
from cnnlab.models.stem import STEM_STRIDE, Stem, apply_stem, check_stem
from cnnlab.nn import global_avg_pool, make_layers
from cnnlab.nn.init import classifier_normal

STAGE_FILTERS = (64, 128, 256, 512)


class ResNet(nn.Module):
  """A residual net of four stages, or its plain twin.

  Attributes:
    num_classes: outputs.
    blocks: blocks of each stage.
    bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
    residual: False for the plain net.
    width: multiplies all filters.
    cardinality: groups of a bottleneck's 3x3 convolution.
    base_width: channels of a group in the first stage.
    bottleneck_stride: the convolution of a bottleneck that has the stride.
    stem: 'imagenet' quarters the image, 'cifar' keeps its size.
    stem_pool: the pooling of ImageNet's stem; 'stride' puts it into the convolution.
    norm: see `cnnlab.nn.NORMS`.
    act: see `cnnlab.nn.ACTIVATIONS`.
    shortcut: 'A' without parameters, 'B' a projection where channels or size change, 'C' always.
    preact: pre-activation blocks.
    zero_init_residual: start every branch at zero (arXiv:1706.02677, 5.1).
    survival: probability that the last block's branch survives (arXiv:1603.09382); 1 is off.
    survival_schedule: 'linear' or 'uniform', see `survival_probabilities`.
    survival_per: 'batch' drops a block for the whole batch as the paper does, or 'sample'.
    survival_skip: do not compute what is dropped for the batch; see `StochasticDepth.skip`.
    downsample: 'stride' in a stage's first block, or 'max' or 'avg': 2x2 pooling before it.
    output_stride: the most that the map is reduced by; stages beyond it dilate instead.
    dtype: to compute in.
  """

  num_classes: int = 1000
  blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
  bottleneck: bool = False
  residual: bool = True
  width: float = 1.0
  cardinality: int = 1
  base_width: int = 64
  bottleneck_stride: Literal["3x3", "1x1"] = "3x3"
  stem: Stem = "imagenet"
  stem_pool: Downsample = "max"
  norm: str = "batch"
  act: str = "relu"
  shortcut: Shortcut = "B"
  preact: bool = False
  zero_init_residual: bool = False
  survival: float = 1.0
  survival_schedule: Literal["linear", "uniform"] = "linear"
  survival_per: Literal["batch", "sample"] = "batch"
  survival_skip: bool = False
  downsample: Downsample = "stride"
  output_stride: Literal[32, 16, 8, 4, 2, 1] = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps after the stem and each stage."""
    trunk = self._trunk()
    total = STEM_STRIDE[self.stem] * 2**trunk.halvings
    check_stem(x.shape, self.stem, total, f"resnet of blocks {self.blocks}")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    features = scaled(STAGE_FILTERS[0], self.width)
    x = x.astype(layers.dtype)
    x = apply_stem(x, features, layers, self.stem, self.stem_pool, activate=not self.preact)
    feats = {"stem": x}  # [B,H/4,W/4,64]
    for stage in range(len(self.blocks)):
      x = trunk.stage(x, stage, layers, train)
      feats[f"stage{stage + 1}"] = x
    if self.preact:
      x = layers.act(layers.norm(name="norm_last")(x))
    x = global_avg_pool(x)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _trunk(self) -> Trunk:
    within = self.output_stride // STEM_STRIDE[self.stem]
    if not within:
      raise ConfigError(
        f"output_stride: stem='imagenet' alone has a stride of 4, not {self.output_stride}; "
        "allowed: 32, 16, 8, 4, or stem='cifar'"
      )
    trunk = Trunk(
      blocks=self.blocks,
      filters=tuple(scaled(filters, self.width) for filters in STAGE_FILTERS),
      branch=Branch(self.bottleneck, self.cardinality, self.base_width, self.bottleneck_stride),
      halvings=min(within.bit_length() - 1, len(self.blocks) - 1),
      shortcut=self.shortcut,
      residual=self.residual,
      preact=self.preact,
      downsample=self.downsample,
      survival=(self.survival, self.survival_schedule, self.survival_per, self.survival_skip),
      zero_init=self.zero_init_residual,
    )
    trunk.check()
    return trunk


DEPTHS: dict[int, dict[str, Any]] = {
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
SIZES: dict[str, dict[str, Any]] = {
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


def build(name: str, **options: Any) -> ResNet:
  """Returns the net called `name` with options changed."""
  return ResNet(**{**SIZES[name], **options})
