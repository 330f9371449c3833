"""The block of ImageNet's and CIFAR's residual nets, and the options and stages that they share.

Post-activation follows arXiv:1512.03385, pre-activation arXiv:1603.05027 (figure 4e).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.models.ranges import Channels, Classes, Survival, Width
from cnnlab.native.keep import keep
from cnnlab.nn import NORMS, StochasticDepth, global_avg_pool, survival_probabilities
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import LayerFactory
from cnnlab.types import OptionValue

Shortcut = Literal["A", "B", "C"]
ShortcutPadding = Literal["after", "both"]
# Output channels of a bottleneck block for each filter of its stage.
EXPANSION = 4


class Block(nn.Module):
  """A branch of convolutions [B,H,W,C] -> [B,H/stride,W/stride,outputs] and a shortcut around it.

  Attributes:
    layers: conv, norm and act.
    filters: filters of the stage; a bottleneck block has four times as many outputs.
    stride: stride of the block.
    dilations: dilation of the convolution that has the stride, and of the later ones.
    bottleneck: 1x1, 3x3, 1x1 convolutions instead of two 3x3.
    cardinality: groups of a bottleneck's 3x3 convolution (arXiv:1611.05431).
    base_width: channels per group for every 64 filters of the stage.
    stride_at: the convolution of a bottleneck that has the stride: '1x1' as published, '3x3' as
      in torchvision and ResNeXt.
    residual: False for a plain net, which has no shortcut.
    projection: the shortcut is a 1x1 convolution instead of subsampling and zero channels
      (option A).
    padding: where option A's zero channels lie, see `ResidualNet.shortcut_padding`.
    preact: norm and activation before each convolution instead of after.
    first: the first block of the net; with `preact`, both paths start from its activation.
    survival: probability that the branch survives in training; 1 never drops it.
    survival_per: 'batch' or 'sample', see `StochasticDepth`.
    survival_skip: do not compute a dropped branch.
    dropout: dropout rate at the input of the last convolution (arXiv:1605.07146, 2.4).
    zero_init: initialize the scale of the branch's last norm to zero (arXiv:1706.02677, 5.1).
  """

  layers: Layers
  filters: int
  stride: int = 1
  dilations: tuple[int, int] = (1, 1)
  bottleneck: bool = False
  cardinality: int = 1
  base_width: int = 64
  stride_at: str = "3x3"
  residual: bool = True
  projection: bool = False
  padding: str = "after"
  preact: bool = False
  first: bool = False
  survival: float = 1.0
  survival_per: str = "batch"
  survival_skip: bool = False
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
      drop = StochasticDepth(self.survival, self.survival_per, name="drop")
      if self.survival_skip and self.survival < 1:
        y = drop.skip(self, branch, x, like=shortcut, train=train) + shortcut
      else:
        y = drop(branch(self, x), train=train) + shortcut
    return keep(y if self.preact else act(y))

  def _branch(self, x: jax.Array, train: bool) -> jax.Array:
    norm, act = self.layers.norm, self.layers.act
    convs = self._convs()
    for i, conv in enumerate(convs, 1):
      last = i == len(convs)
      if self.preact and i > 1:
        x = act(norm(name=f"norm{i}")(x))
      if last:
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
      x = conv(name=f"conv{i}")(x)
      if not self.preact:
        silent = {"scale_init": nn.initializers.zeros} if self.zero_init and last else {}
        x = norm(name=f"norm{i}", **silent)(x)
        x = x if last else act(x)
    return x

  def _convs(self) -> tuple[LayerFactory, ...]:
    """Returns the factories of the branch's convolutions."""
    conv = self.layers.conv
    strided, later = ({"padding": d, "dilation": d} for d in self.dilations)
    if not self.bottleneck:
      return (
        partial(conv, self.filters, 3, stride=self.stride, **strided),
        partial(conv, self.filters, 3, **later),
      )
    inner = max(1, self.filters * self.base_width // 64) * self.cardinality
    first, second = (self.stride, 1) if self.stride_at == "1x1" else (1, self.stride)
    return (
      partial(conv, inner, 1, stride=first),
      partial(conv, inner, 3, stride=second, groups=self.cardinality, **strided),
      partial(conv, self.filters * EXPANSION, 1),
    )

  def _shortcut(self, x: jax.Array) -> jax.Array:
    outputs = self.filters * (EXPANSION if self.bottleneck else 1)
    if self.projection:
      x = self.layers.conv(outputs, 1, stride=self.stride, name="shortcut_conv")(x)
      return x if self.preact else self.layers.norm(name="shortcut_norm")(x)
    if outputs < x.shape[3]:
      raise ConfigError(
        f"shortcut 'A' cannot go from {x.shape[3]} to {outputs} channels; use 'B' or 'C'"
      )
    x = x[:, :: self.stride, :: self.stride]
    missing = outputs - x.shape[3]
    before = missing // 2 if self.padding == "both" else 0
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, missing - before)))


class ResidualNet(nn.Module):
  """The options, stages and classifier of ImageNet's and CIFAR's nets; each adds its stem.

  Attributes:
    num_classes: number of classes.
    bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
    residual: False for the plain net.
    width: multiplier of the stages' filters.
    cardinality: groups of a bottleneck's 3x3 convolution.
    base_width: channels per group for every 64 filters of the stage.
    norm: normalization, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    shortcut: 'A' without parameters, 'B' a projection where channels or size change, 'C' always.
    shortcut_padding: where the zero channels of 'A' lie: 'after' those of the map, or on 'both'
      sides of them, half each.
    preact: pre-activation blocks.
    survival: probability that the last block's branch survives (arXiv:1603.09382); 1 disables
      stochastic depth.
    survival_schedule: 'linear' or 'uniform', see `survival_probabilities`.
    survival_per: 'batch' drops a block for the whole batch, as in the paper, or 'sample'.
    survival_skip: do not compute what is dropped for the batch; see `StochasticDepth.skip`.
    downsample: 'stride' in a stage's first block, or 'max' or 'avg': 2x2 pooling before it.
    dtype: computation dtype.
  """

  num_classes: Classes = 10
  bottleneck: bool = False
  residual: bool = True
  width: Width = 1.0
  cardinality: Channels = 1
  base_width: Channels = 64
  norm: str = "batch"
  act: str = "relu"
  shortcut: Shortcut = "B"
  shortcut_padding: ShortcutPadding = "after"
  preact: bool = False
  survival: Survival = 1.0
  survival_schedule: Literal["linear", "uniform"] = "linear"
  survival_per: Literal["batch", "sample"] = "batch"
  survival_skip: bool = False
  downsample: Downsample = "stride"
  dtype: str = "float32"

  def block(self, layers: Layers, **options: OptionValue) -> Callable[..., Block]:
    """Returns `Block` with what all blocks of the net have in common, `options` included.

    Raises:
      ConfigError: options that contradict each other.
    """
    if not self.residual and self.survival < 1:
      raise ConfigError("survival: a plain net (residual=False) has no branches to drop")
    if not self.bottleneck and (self.cardinality, self.base_width) != (1, 64):
      raise ConfigError("cardinality and base_width need bottleneck blocks (bottleneck=True)")
    if self.shortcut_padding != "after" and (self.shortcut != "A" or not self.residual):
      raise ConfigError("shortcut_padding: only shortcut 'A' adds zero channels")
    if options.get("zero_init") and (self.preact or not self.residual):
      raise ConfigError("zero_init_residual: only post-activation residual blocks end in a norm")
    if options.get("zero_init") and not NORMS[self.norm].scale:
      scaled_by = ", ".join(name for name, norm in NORMS.items() if norm.scale)
      raise ConfigError(
        f"zero_init_residual: norm {self.norm!r} learns no scale that could start at zero; "
        f"allowed: {scaled_by}"
      )
    return partial(
      Block,
      layers,
      bottleneck=self.bottleneck,
      cardinality=self.cardinality,
      base_width=self.base_width,
      residual=self.residual,
      padding=self.shortcut_padding,
      preact=self.preact,
      survival_per=self.survival_per,
      survival_skip=self.survival_skip,
      **options,
    )

  def stages(
    self,
    x: jax.Array,
    block: Callable[..., Block],
    counts: Sequence[int],
    filters: Sequence[int],
    halvings: int,
    multi_grid: Sequence[int] = (1,),
    *,
    train: bool,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Applies the stages to the stem's map, inside a net's `__call__`.

    Args:
      x: map of the stem [B,H,W,C].
      block: factory of the blocks, see `block`.
      counts: number of blocks in each stage.
      filters: filters of each stage, before `width`.
      halvings: number of stages, from the second on, that halve the map; later ones dilate.
      multi_grid: factors of the dilation in the blocks of the fourth stage and later ones, in turn
        (arXiv:1706.05587, section 3.2.1).
      train: whether to train.

    Returns:
      The last stage's map and the maps after the stem and each stage.
    """
    feats = {"stem": x}
    survivals = iter(survival_probabilities(sum(counts), self.survival, self.survival_schedule))
    # Where a stride is left out, the taps of everything after it move apart; the convolution
    # that had the stride still reads the map before it.
    before = 1
    for stage, (count, features) in enumerate(zip(counts, filters, strict=True), 1):
      features, dilation = scaled(features, self.width), 2 ** max(stage - 1 - halvings, 0)
      outputs = features * (EXPANSION if self.bottleneck else 1)
      for number in range(1, count + 1):
        stride = 2 if number == 1 and 1 < stage <= halvings + 1 else 1
        if stride == 2 and self.downsample != "stride":
          x, stride = pool(self.downsample, x, 2, 2, fit="pad"), 1
        changes = number == 1 and (stage > 1 or outputs != x.shape[3])
        factor = multi_grid[(number - 1) % len(multi_grid)] if stage > 3 else 1
        x = block(
          filters=features,
          stride=stride,
          dilations=(before * factor, dilation * factor),
          projection=self.shortcut == "C" or (self.shortcut == "B" and changes),
          first=stage == number == 1,
          survival=next(survivals),
          name=f"stage{stage}_block{number}",
        )(x, train=train)
        before = dilation
      feats[f"stage{stage}"] = x
    return x, feats

  def classify(
    self, x: jax.Array, feats: dict[str, jax.Array], layers: Layers
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the logits and `feats` with the head's entries, inside a net's `__call__`.

    A pre-activation net has its last stage's map after norm and activation as 'last_map'.
    """
    if self.preact:
      x = feats["last_map"] = layers.act(layers.norm(name="norm_last")(x))
    if not self.num_classes:
      return x, feats
    x = feats["pre_logits"] = global_avg_pool(x)
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats
