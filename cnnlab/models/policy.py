"""Policy networks of Go: Silver et al., "Mastering the game of Go ..." (doi:10.1038/nature16961).

`alphago` (methods, "Neural network architecture"): a 5x5 convolution and eleven 3x3 ones of k filters,
each with a ReLU, on a map that keeps the size of the board; a 1x1 convolution with one filter and a
bias for each point; a softmax over the points. The match version has k = 192. `policy_resnet` has
residual blocks of ours between the same first and last layer.

Logits are [batch, height * width], row by row. Deviation: initial weights, which the paper does not
state, are Kaiming fan-out, and N(0, 0.01²) for the last layer.
"""

from __future__ import annotations

import jax
from flax import linen as nn

from cnnlab.models.downsampling import scaled
from cnnlab.models.ranges import Channels, Depth
from cnnlab.models.residual import ResidualNet
from cnnlab.nn import check_image, make_layers
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

OUTPUT = "policy"

Result = tuple[jax.Array, dict[str, jax.Array]]


class PointLogits(nn.Module):
  """A 1x1 convolution to one map, with a bias for each point of the board.

  Attributes:
    layers: conv, norm and act.
  """

  layers: Layers

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns logits [batch, height * width] of a map [batch, height, width, channels], float32."""
    bias = self.param("bias", nn.initializers.zeros, x.shape[1:3])
    conv = self.layers.conv(1, 1, use_bias=False, kernel_init=classifier_normal(), name="conv")
    return (conv(x)[..., 0].astype("float32") + bias).reshape(len(x), -1)


class AlphaGo(nn.Module):
  """Convolutions of stride 1 on the board.

  Attributes:
    filters: k, of each convolution.
    depth: number of convolutions before the last one.
    norm: normalization after each of them, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dtype: computation dtype.
  """

  filters: Channels = 192
  depth: Depth = 12
  norm: str = "none"
  act: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> Result:
    """Returns logits [batch, height * width] and the map after each convolution."""
    check_image(x.shape, 1, "alphago")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x, feats = x.astype(layers.dtype), {}
    for i in range(1, self.depth + 1):
      window = 5 if i == 1 else 3
      x = layers.conv(self.filters, window, padding=window // 2, name=f"conv{i}")(x)
      x = feats[f"conv{i}"] = layers.act(layers.norm(name=f"norm{i}")(x))  # [B,19,19,k]
    feats["pre_logits"] = x
    return PointLogits(layers, name="head")(x), feats


class PolicyResNet(ResidualNet):
  """A 5x5 convolution and one stage of residual blocks on the board.

  Attributes:
    filters: filters of the stage; a bottleneck block has four times as many outputs.
    blocks: number of blocks.
    others: see `ResidualNet`; `num_classes` and `downsample` have no effect.
  """

  filters: Channels = 192
  blocks: Depth = 6

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> Result:
    """Returns logits [batch, height * width] and the maps after the stem and the stage."""
    check_image(x.shape, 1, "policy_resnet")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    filters = scaled(self.filters, self.width)
    x = layers.conv(filters, 5, padding=2, name="conv1")(x.astype(layers.dtype))
    if not self.preact:
      x = layers.act(layers.norm(name="norm1")(x))
    block = self.block(layers)
    x, feats = self.stages(x, block, (self.blocks,), (self.filters,), 0, train=train)
    if self.preact:
      x = layers.act(layers.norm(name="norm_last")(x))
    feats["pre_logits"] = x
    return PointLogits(layers, name="head")(x), feats


SIZES: dict[str, Options] = {"alphago": {}, "policy_resnet": {}}


def build(name: str, **options: OptionValue) -> nn.Module:
  """Returns the net called `name` with the given options replaced."""
  return (AlphaGo if name == "alphago" else PolicyResNet)(**{**SIZES[name], **options})
