"""The residual block and the stages that ImageNet's and CIFAR's residual nets are made of.

Post-activation after arXiv:1512.03385, pre-activation after arXiv:1603.05027 (figure 4e).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.nn import StochasticDepth, global_avg_pool, survival_probabilities
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers

Shortcut = Literal["A", "B", "C"]
EXPANSION = 4  # a bottleneck block's outputs for each filter of its stage


class ConvSpec(NamedTuple):
  """A convolution of a branch, padded to keep the size: output channels, window and the rest."""

  features: int
  window: int
  stride: int = 1
  dilation: int = 1
  groups: int = 1


class Branch(NamedTuple):
  """What the residual branches of a net have in common.

  Attributes:
    bottleneck: 1x1, 3x3, 1x1 convolutions instead of two 3x3.
    cardinality: groups of the bottleneck's 3x3 convolution (arXiv:1611.05431).
    base_width: channels of a group for each 64 filters of the stage.
    stride_at: which convolution of a bottleneck has the stride: '1x1' as published, '3x3' as
      torchvision and ResNeXt have it.
  """

  bottleneck: bool = False
  cardinality: int = 1
  base_width: int = 64
  stride_at: str = "3x3"

  def convs(self, filters: int, stride: int, dilation: tuple[int, int]) -> tuple[ConvSpec, ...]:
    """Returns the branch's convolutions; `dilation` is that of the strided and of later ones."""
    if not self.bottleneck:
      return (
        ConvSpec(filters, 3, stride, dilation[0]),
        ConvSpec(filters, 3, 1, dilation[1]),
      )
    inner = max(1, filters * self.base_width // 64) * self.cardinality
    first, second = (stride, 1) if self.stride_at == "1x1" else (1, stride)
    return (
      ConvSpec(inner, 1, first),
      ConvSpec(inner, 3, second, dilation[0], self.cardinality),
      ConvSpec(filters * EXPANSION, 1),
    )


class Block(nn.Module):
  """A branch of convolutions [B,H,W,C] -> [B,H/stride,W/stride,features] and a shortcut around it.

  Attributes:
    layers: conv, norm and act.
    convs: the branch.
    residual: False for a plain net: no shortcut.
    projection: the shortcut is a 1x1 convolution; else subsampling and zero channels (option A).
    preact: norm and act before each convolution instead of after.
    first: the net's first block, which with `preact` activates before the two paths split.
    drop: options of the branch's `StochasticDepth`.
    skip: do not compute a dropped branch.
    dropout: probability of dropping an input of the last convolution (arXiv:1605.07146, 2.4).
    zero_init: start the branch at zero by the scale of its last norm (arXiv:1706.02677, 5.1).
  """

  layers: Layers
  convs: tuple[ConvSpec, ...]
  residual: bool
  projection: bool
  preact: bool
  first: bool
  drop: dict[str, Any]
  skip: bool
  dropout: float = 0.0
  zero_init: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the block's output."""
    norm, act = self.layers.norm, self.layers.act
    shortcut = x
    if self.preact:
      x = act(norm(name="norm1")(x))
      if self.first or self.projection:
        shortcut = x

    def branch(block: Block, x: jax.Array) -> jax.Array:
      return block._branch(x, train)

    if not self.residual:
      y = branch(self, x)
    else:
      shortcut = self._shortcut(shortcut)
      drop = StochasticDepth(**self.drop, name="drop")
      if self.skip:
        y = drop.skip(self, branch, x, like=shortcut, train=train) + shortcut
      else:
        y = drop(branch(self, x), train=train) + shortcut
    return y if self.preact else act(y)

  def _branch(self, x: jax.Array, train: bool) -> jax.Array:
    conv, norm, act = self.layers.conv, self.layers.norm, self.layers.act
    last = len(self.convs)
    for i, spec in enumerate(self.convs, 1):
      if self.preact and i > 1:
        x = act(norm(name=f"norm{i}")(x))
      if i == last:
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
      x = conv(
        spec.features,
        spec.window,
        stride=spec.stride,
        padding=spec.dilation * (spec.window // 2),
        dilation=spec.dilation,
        groups=spec.groups,
        name=f"conv{i}",
      )(x)
      if not self.preact:
        silent = {"scale_init": nn.initializers.zeros} if self.zero_init and i == last else {}
        x = norm(name=f"norm{i}", **silent)(x)
        x = x if i == last else act(x)
    return x

  def _shortcut(self, x: jax.Array) -> jax.Array:
    features, stride = self.convs[-1].features, max(spec.stride for spec in self.convs)
    if self.projection:
      x = self.layers.conv(features, 1, stride=stride, name="shortcut_conv")(x)
      return x if self.preact else self.layers.norm(name="shortcut_norm")(x)
    if features < x.shape[3]:
      raise ConfigError(
        f"shortcut 'A' cannot go from {x.shape[3]} to {features} channels; use 'B' or 'C'"
      )
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, features - x.shape[3])))


class Trunk(NamedTuple):
  """The stages of a residual net, from the stem's map to the head's.

  Attributes:
    blocks: blocks of each stage.
    filters: of each stage; a bottleneck's output has four times as many.
    branch: the kind of branch.
    halvings: how many of the stages from the second on halve the map; later ones dilate.
    shortcut: 'A', 'B' or 'C'.
    residual: False for the plain net.
    preact: pre-activation blocks.
    downsample: how a map is halved.
    survival: (probability of the last block's branch, schedule, per, skip) of stochastic depth.
    dropout: in the branches.
    zero_init: see `Block`.
  """

  blocks: tuple[int, ...]
  filters: tuple[int, ...]
  branch: Branch
  halvings: int
  shortcut: str
  residual: bool
  preact: bool
  downsample: Downsample
  survival: tuple[float, str, str, bool]
  dropout: float = 0.0
  zero_init: bool = False

  def check(self) -> None:
    """Raises ConfigError for options that contradict each other."""
    if not self.residual and self.survival[0] < 1:
      raise ConfigError("survival: a plain net (residual=False) has no branches to drop")
    if not self.branch.bottleneck and (self.branch.cardinality, self.branch.base_width) != (1, 64):
      raise ConfigError("cardinality and base_width need bottleneck blocks (bottleneck=True)")
    if self.zero_init and (self.preact or not self.residual):
      raise ConfigError("zero_init_residual: only post-activation residual blocks end in a norm")

  def stage(self, x: jax.Array, stage: int, layers: Layers, train: bool) -> jax.Array:
    """Applies stage number `stage`, from 0, inside a net's `__call__`; blocks are named there."""
    last, schedule, per, skip = self.survival
    survivals = survival_probabilities(sum(self.blocks), last, schedule)
    # Where a stride is left out, the taps of everything behind it move apart; the convolution
    # that had the stride still looks at the map before it.
    before, dilation = (2 ** max(s - self.halvings, 0) for s in (max(stage - 1, 0), stage))
    for block in range(self.blocks[stage]):
      stride = 2 if 0 < stage <= self.halvings and block == 0 else 1
      if stride == 2 and self.downsample != "stride":
        x, stride = pool(self.downsample, x, 2, 2, fit="pad"), 1
      dilations = (before if block == 0 else dilation, dilation)
      convs = self.branch.convs(self.filters[stage], stride, dilations)
      changes = block == 0 and (stage > 0 or convs[-1].features != x.shape[3])
      x = Block(
        layers=layers,
        convs=convs,
        residual=self.residual,
        projection=self.shortcut == "C" or (self.shortcut == "B" and changes),
        preact=self.preact,
        first=stage == 0 and block == 0,
        drop={"survival": survivals[sum(self.blocks[:stage]) + block], "per": per},
        skip=skip and last < 1,
        dropout=self.dropout,
        zero_init=self.zero_init,
        name=f"stage{stage + 1}_block{block + 1}",
      )(x, train=train)
    return x


class ResidualNet(nn.Module):
  """The options and the classifier that ImageNet's and CIFAR's nets share; each adds its stem.

  Attributes:
    num_classes: outputs.
    bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
    residual: False for the plain net.
    width: multiplies the stages' filters.
    cardinality: groups of a bottleneck's 3x3 convolution.
    base_width: channels of a group for each 64 filters of the stage.
    norm: see `cnnlab.nn.NORMS`.
    act: see `cnnlab.nn.ACTIVATIONS`.
    shortcut: 'A' without parameters, 'B' a projection where channels or size change, 'C' always.
    preact: pre-activation blocks.
    survival: probability that the last block's branch survives (arXiv:1603.09382); 1 is off.
    survival_schedule: 'linear' or 'uniform', see `survival_probabilities`.
    survival_per: 'batch' drops a block for the whole batch as the paper does, or 'sample'.
    survival_skip: do not compute what is dropped for the batch; see `StochasticDepth.skip`.
    downsample: 'stride' in a stage's first block, or 'max' or 'avg': 2x2 pooling before it.
    dtype: to compute in.
  """

  num_classes: int = 10
  bottleneck: bool = False
  residual: bool = True
  width: float = 1.0
  cardinality: int = 1
  base_width: int = 64
  norm: str = "batch"
  act: str = "relu"
  shortcut: Shortcut = "B"
  preact: bool = False
  survival: float = 1.0
  survival_schedule: Literal["linear", "uniform"] = "linear"
  survival_per: Literal["batch", "sample"] = "batch"
  survival_skip: bool = False
  downsample: Downsample = "stride"
  dtype: str = "float32"

  def trunk(
    self,
    blocks: tuple[int, ...],
    filters: tuple[int, ...],
    halvings: int,
    *,
    stride_at: str = "3x3",
    dropout: float = 0.0,
    zero_init: bool = False,
  ) -> Trunk:
    """Returns the net's stages; `filters` are those before `width`, the rest as of `Trunk`.

    Raises:
      ConfigError: options that contradict each other, see `Trunk.check`.
    """
    trunk = Trunk(
      blocks=blocks,
      filters=tuple(scaled(count, self.width) for count in filters),
      branch=Branch(self.bottleneck, self.cardinality, self.base_width, stride_at),
      halvings=halvings,
      shortcut=self.shortcut,
      residual=self.residual,
      preact=self.preact,
      downsample=self.downsample,
      survival=(self.survival, self.survival_schedule, self.survival_per, self.survival_skip),
      dropout=dropout,
      zero_init=zero_init,
    )
    trunk.check()
    return trunk

  def classify(
    self, x: jax.Array, trunk: Trunk, layers: Layers, train: bool
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits and the maps after the stem and each stage, inside a net's `__call__`."""
    feats = {"stem": x}
    for stage in range(len(trunk.blocks)):
      x = trunk.stage(x, stage, layers, train)
      feats[f"stage{stage + 1}"] = x
    if self.preact:
      x = layers.act(layers.norm(name="norm_last")(x))
    x = global_avg_pool(x)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats
