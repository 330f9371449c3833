"""Densely Connected Convolutional Networks (arXiv:1608.06993), table 1 and section 4.

Every layer sees the maps of all layers before it in its block and adds `growth_rate` channels:

  densenet121, 169, 201, 264, 161: ImageNet, blocks of table 1 (161 as the authors' code has it,
    with k = 48), bottleneck and compression
  densenet<L>_<k>: CIFAR, three blocks of (L-4)/3 layers, 16 channels in the first convolution
  densenet_b<L>_<k>: B, a 1x1 convolution to 4k channels before each 3x3, (L-4)/6 layers a block
  densenet_c<L>_<k>: C, transitions halve the channels
  densenet_bc<L>_<k>: both, with 2k channels in the first convolution

Layers are norm, activation, convolution. The paper drops 20 % after each convolution but the first
where it trains without augmentation (`dropout`); the default is 0. Deviation: the classifier starts
at N(0, 0.01).
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.annotations import PositiveFraction
from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.models.ranges import Channels, Classes, Depths, Dropout, Width
from cnnlab.models.stem import STEM_STRIDE, Stem, apply_stem, check_stem
from cnnlab.nn import global_avg_pool, make_layers
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue


class DenseLayer(nn.Module):
  """Norm, activation and 3x3 convolution [B,H,W,C] -> [B,H,W,growth], optionally after a 1x1 one.

  Attributes:
    layers: conv, norm and act.
    growth: number of channels that the layer adds.
    bottleneck: channels between the 1x1 and the 3x3 convolution; 0: no 1x1 convolution.
    dilation: dilation of the 3x3 convolution.
    dropout: dropout rate of the outputs.
  """

  layers: Layers
  growth: int
  bottleneck: int
  dilation: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the new channels."""
    conv, norm, act = self.layers.conv, self.layers.norm, self.layers.act
    x = act(norm(name="norm1")(x))
    if self.bottleneck:
      x = conv(self.bottleneck, 1, name="conv1")(x)
      x = nn.Dropout(self.dropout, deterministic=not train, name="dropout1")(x)
      x = act(norm(name="norm2")(x))
    last = "conv2" if self.bottleneck else "conv1"
    x = conv(self.growth, 3, padding=self.dilation, dilation=self.dilation, name=last)(x)
    return nn.Dropout(self.dropout, deterministic=not train, name="dropout_last")(x)


class DenseNet(nn.Module):
  """Blocks of densely connected layers, with transitions between them.

  Attributes:
    num_classes: number of classes.
    blocks: number of layers in each block.
    growth_rate: k, the number of channels that a layer adds.
    stem_features: channels of the first convolution.
    bottleneck: B, a 1x1 convolution to 4k channels before each 3x3.
    compression: C, the fraction θ of its channels that a transition keeps; 1 keeps all.
    stem: 'imagenet' reduces the image by 4, 'cifar' is a 3x3 convolution.
    stem_pool: pooling of ImageNet's stem; 'stride' moves it into the convolution.
    norm: normalization, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate after each convolution but the first.
    width: multiplier of `growth_rate` and `stem_features`.
    downsample: 2x2 pooling in the transitions, 'avg' as published or 'max', or 'stride' in their
      convolution.
    output_stride: largest total stride; blocks beyond it dilate instead.
    dtype: computation dtype.
  """

  num_classes: Classes = 1000
  blocks: Depths = (6, 12, 24, 16)
  growth_rate: Channels = 32
  stem_features: Channels = 64
  bottleneck: bool = True
  compression: PositiveFraction = 0.5
  stem: Stem = "imagenet"
  stem_pool: Downsample = "max"
  norm: str = "batch"
  act: str = "relu"
  dropout: Dropout = 0.0
  width: Width = 1.0
  downsample: Downsample = "avg"
  output_stride: Literal[32, 16, 8, 4, 2, 1] = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps after the stem and each block."""
    halvings = self._halvings()
    total = STEM_STRIDE[self.stem] * 2**halvings
    check_stem(
      x.shape,
      self.stem,
      total,
      f"densenet of blocks {self.blocks}",
      classifies=self.num_classes > 0,
    )
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    features = scaled(self.stem_features, self.width)
    x = x.astype(layers.dtype)
    imagenet = self.stem == "imagenet"
    feats = apply_stem(x, features, layers, self.stem, self.stem_pool, activate=imagenet)
    x = feats["stem"]
    for block in range(1, len(self.blocks) + 1):
      if block > 1:
        x = self._transition(x, block - 1, block - 1 <= halvings, layers)
      x = self._block(x, block, 2 ** max(block - 1 - halvings, 0), layers, train)
      feats[f"block{block}"] = x
    x = layers.act(layers.norm(name="norm_last")(x))
    feats["last_map"] = x
    if not self.num_classes:
      return x, feats
    x = global_avg_pool(x)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _halvings(self) -> int:
    """Returns how many transitions halve the map; ConfigError for impossible options."""
    within = self.output_stride // STEM_STRIDE[self.stem]
    if not within:
      raise ConfigError(
        f"output_stride: stem='imagenet' alone has a stride of 4, not {self.output_stride}; "
        "allowed: 32, 16, 8, 4, or stem='cifar'"
      )
    return min(within.bit_length() - 1, len(self.blocks) - 1)

  def _block(
    self, x: jax.Array, block: int, dilation: int, layers: Layers, train: bool
  ) -> jax.Array:
    growth = scaled(self.growth_rate, self.width)
    for layer in range(1, self.blocks[block - 1] + 1):
      new = DenseLayer(
        layers=layers,
        growth=growth,
        bottleneck=4 * growth if self.bottleneck else 0,
        dilation=dilation,
        dropout=self.dropout,
        name=f"block{block}_layer{layer}",
      )(x, train=train)
      x = jnp.concatenate([x, new], axis=-1)
    return x

  def _transition(self, x: jax.Array, number: int, halves: bool, layers: Layers) -> jax.Array:
    features = max(1, int(x.shape[3] * self.compression))
    stride = 2 if halves and self.downsample == "stride" else 1
    x = layers.act(layers.norm(name=f"transition{number}_norm")(x))
    x = layers.conv(features, 1, stride=stride, name=f"transition{number}_conv")(x)
    if halves and stride == 1:
      x = pool(self.downsample, x, 2, 2, fit="crop")
    return x


def _cifar(depth: int, growth: int, kind: str) -> Options:
  """Returns the options of a CIFAR net of `depth` layers; `kind` is '', 'b', 'c' or 'bc'."""
  bottleneck = kind.startswith("b")
  return {
    "num_classes": 10,
    "blocks": ((depth - 4) // (6 if bottleneck else 3),) * 3,
    "growth_rate": growth,
    "stem_features": 2 * growth if kind == "bc" else 16,
    "bottleneck": bottleneck,
    "compression": 0.5 if kind.endswith("c") else 1.0,
    "stem": "cifar",
  }


# arXiv:1608.06993, table 2; B and C alone are figure 4's; k = 36, 48, 60 are the authors' wide ones.
CIFAR_SIZES = {
  "": ((40, 12), (100, 12), (100, 24)),
  "b": ((40, 12), (100, 12)),
  "c": ((40, 12), (100, 12)),
  "bc": ((40, 12), (40, 36), (40, 48), (40, 60), (100, 12), (190, 40), (250, 24)),
}
SIZES: dict[str, Options] = {
  "densenet121": {"blocks": (6, 12, 24, 16)},
  "densenet161": {"blocks": (6, 12, 36, 24), "growth_rate": 48, "stem_features": 96},
  "densenet169": {"blocks": (6, 12, 32, 32)},
  "densenet201": {"blocks": (6, 12, 48, 32)},
  "densenet264": {"blocks": (6, 12, 64, 48)},
  **{
    f"densenet{'_' if kind else ''}{kind}{depth}_{growth}": _cifar(depth, growth, kind)
    for kind, sizes in CIFAR_SIZES.items()
    for depth, growth in sizes
  },
}


def build(name: str, **options: OptionValue) -> DenseNet:
  """Returns the net called `name` with the given options replaced."""
  return DenseNet(**{**SIZES[name], **options})
