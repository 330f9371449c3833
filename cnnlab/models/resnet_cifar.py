"""Deep Residual Learning (arXiv:1512.03385), section 4.2: ResNets and plain nets for CIFAR.

6n+2 layers: a 3x3 convolution, three stages of n blocks of two 3x3 convolutions with 16, 32 and
64 filters on maps of 32, 16 and 8 pixels, average pooling and a classifier; table 6's nets, all
with parameter-free shortcuts (option A) by default. `preact` is arXiv:1603.05027's block.

Deviation: the paper does not say on which side option A's zero channels lie; here they come last.
The classifier starts at N(0, 0.01), all convolutions at Kaiming fan-out.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.nn import (
  StochasticDepth,
  check_image,
  global_avg_pool,
  make_layers,
  survival_probabilities,
)
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers

STAGE_FEATURES = (16, 32, 64)


class Block(nn.Module):
  """Two 3x3 convolutions [B,H,W,C] -> [B,H/stride,W/stride,features], with a shortcut around them.

  Attributes:
    layers: conv, norm and act.
    features: output channels.
    stride: of the first convolution and the shortcut.
    dilation: of the first and the second convolution.
    residual: False for a plain net: no shortcut.
    projection: the shortcut is a 1x1 convolution; else subsampling and zero channels (option A).
    preact: norm and act before each convolution instead of after.
    first: the net's first block, which with `preact` activates before the two paths split.
    drop: options of the branch's `StochasticDepth`.
    skip: do not compute a dropped branch.
  """

  layers: Layers
  features: int
  stride: int
  dilation: tuple[int, int]
  residual: bool
  projection: bool
  preact: bool
  first: bool
  drop: dict[str, Any]
  skip: bool

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the block's output."""
    norm, act = self.layers.norm, self.layers.act
    shortcut = x
    if self.preact:
      x = act(norm(name="norm1")(x))
      if self.first or self.projection:
        shortcut = x
    if not self.residual:
      y = self._branch(x)
    else:
      shortcut = self._shortcut(shortcut)
      drop = StochasticDepth(**self.drop, name="drop")
      if self.skip:
        y = drop.skip(self, Block._branch, x, like=shortcut, train=train) + shortcut
      else:
        y = drop(self._branch(x), train=train) + shortcut
    return y if self.preact else act(y)

  def _branch(self, x: jax.Array) -> jax.Array:
    conv, norm, act = self.layers.conv, self.layers.norm, self.layers.act
    first, second = ({"padding": d, "dilation": d} for d in self.dilation)
    x = conv(self.features, 3, stride=self.stride, name="conv1", **first)(x)
    x = act(norm(name="norm2" if self.preact else "norm1")(x))
    x = conv(self.features, 3, name="conv2", **second)(x)
    return x if self.preact else norm(name="norm2")(x)

  def _shortcut(self, x: jax.Array) -> jax.Array:
    if self.projection:
      x = self.layers.conv(self.features, 1, stride=self.stride, name="shortcut_conv")(x)
      return x if self.preact else self.layers.norm(name="shortcut_norm")(x)
    x = x[:, :: self.stride, :: self.stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[3])))


class ResNetCifar(nn.Module):
  """A CIFAR ResNet or its plain twin of 6 `blocks` + 2 layers.

  Attributes:
    num_classes: outputs.
    blocks: n, blocks in each of the three stages.
    residual: False for the plain net.
    width: multiplies the 16, 32 and 64 filters; a whole number of 2 and more makes a wide net.
    norm: see `cnnlab.nn.NORMS`.
    act: see `cnnlab.nn.ACTIVATIONS`.
    shortcut: 'A' without parameters, 'B' a projection where channels or size change, 'C' always.
    preact: pre-activation blocks (arXiv:1603.05027).
    survival: probability that the last block's branch survives (arXiv:1603.09382); 1 is off.
    survival_schedule: 'linear' or 'uniform', see `survival_probabilities`.
    survival_per: 'batch' drops a block for the whole batch as the paper does, or 'sample'.
    survival_skip: do not compute what is dropped for the batch; see `StochasticDepth.skip`.
    downsample: 'stride' in a stage's first convolution and shortcut, or 'max' or 'avg': 2x2
      pooling before the block, both paths of which then have stride 1.
    output_stride: 4 as published; 2 and 1 dilate instead of halving, for dense prediction.
    dtype: to compute in.
  """

  num_classes: int = 10
  blocks: int = 3
  residual: bool = True
  width: float = 1.0
  norm: str = "batch"
  act: str = "relu"
  shortcut: Literal["A", "B", "C"] = "A"
  preact: bool = False
  survival: float = 1.0
  survival_schedule: Literal["linear", "uniform"] = "linear"
  survival_per: Literal["batch", "sample"] = "batch"
  survival_skip: bool = False
  downsample: Downsample = "stride"
  output_stride: Literal[4, 2, 1] = 4
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps after the stem and each stage."""
    if not self.residual and self.survival < 1:
      raise ConfigError("survival: a plain net (residual=False) has no branches to drop")
    check_image(x.shape, self.output_stride, f"resnet_cifar of {6 * self.blocks + 2} layers")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x = x.astype(layers.dtype)
    x = layers.conv(scaled(STAGE_FEATURES[0], self.width), 3, padding=1, name="conv1")(x)
    if not self.preact:
      x = layers.act(layers.norm(name="norm1")(x))
    feats = {"stem": x}  # [B,H,W,16]
    for stage, features in enumerate(STAGE_FEATURES):
      x = self._stage(x, stage, scaled(features, self.width), layers, train)
      feats[f"stage{stage + 1}"] = x
    if self.preact:
      x = layers.act(layers.norm(name="norm_last")(x))
    x = global_avg_pool(x)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _stage(
    self, x: jax.Array, stage: int, features: int, layers: Layers, train: bool
  ) -> jax.Array:
    survivals = survival_probabilities(3 * self.blocks, self.survival, self.survival_schedule)
    halvings = {4: 2, 2: 1, 1: 0}[self.output_stride]
    halves = 0 < stage <= halvings
    # Where a stride is left out, the taps of everything behind it move apart; the convolution
    # that had the stride still looks at the map before it.
    before, dilation = (2 ** max(s - halvings, 0) for s in (max(stage - 1, 0), stage))
    for block in range(self.blocks):
      stride = 2 if halves and block == 0 else 1
      if stride == 2 and self.downsample != "stride":
        x, stride = pool(self.downsample, x, 2, 2, fit="crop"), 1
      changes = stage > 0 and block == 0
      x = Block(
        layers=layers,
        features=features,
        stride=stride,
        dilation=(before if block == 0 else dilation, dilation),
        residual=self.residual,
        projection=self.shortcut == "C" or (self.shortcut == "B" and changes),
        preact=self.preact,
        first=stage == 0 and block == 0,
        drop={"survival": survivals[stage * self.blocks + block], "per": self.survival_per},
        skip=self.survival_skip and self.survival < 1,
        name=f"stage{stage + 1}_block{block + 1}",
      )(x, train=train)
    return x


SIZES: dict[str, dict[str, Any]] = {
  f"{family}{6 * n + 2}": {"blocks": n, "residual": family == "resnet"}
  for family in ("resnet", "plain")
  for n in (3, 5, 7, 9, 18, 200)
}


def build(name: str, **options: Any) -> ResNetCifar:
  """Returns the net called `name` with options changed."""
  return ResNetCifar(**{**SIZES[name], **options})
