"""VGG: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv:1409.1556).

Table 1: A = `vgg11`, A-LRN = `vgg11_lrn`, B = `vgg13`, C = `vgg16_c` (with 1x1 convolutions),
D = `vgg16`, E = `vgg19`; `_bn` has batch norm after every convolution, which keeps its bias, as in
torchvision. Stages of 3x3 convolutions, each followed by 2x2 max pooling, and three fully
connected layers. Section 2.3's shallow net of 5x5 layers is
`create_model('vgg13', convs=(1, 1, 1, 1, 1), kernel_size=5)`.

Deviations: Kaiming initial weights instead of N(0, 0.01²) and a start from net A (the paper's
section 3.1 allows such a start with Glorot's). Images that do not end in a 7x7 map are averaged to
one for fc6, as in torchvision.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.classic import (
  Pool,
  classic_layers,
  conv_pool,
  fully_connected,
  head_input,
  pool_unless_strided,
)
from cnnlab.models.downsampling import Downsample, scaled
from cnnlab.models.ranges import Channels, Classes, Depth, Dropout, Width, Window
from cnnlab.nn import check_image
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import LayerFactory
from cnnlab.types import Options, OptionValue

# Side of the map that fc6 expects.
GRID = 7


class VGG(nn.Module):
  """Five stages of convolutions and a classifier.

  Attributes:
    num_classes: number of classes.
    convs: number of convolutions in each stage.
    features: output channels of each stage.
    kernel_size: window of the convolutions.
    pointwise: from the third convolution of a stage on the window is 1x1 (net C).
    hidden: widths of fc6 and fc7.
    downsample: 'max' or 'avg' 2x2 pooling after each stage, or a 'stride' in its last convolution.
    norm: 'lrn' after the first activation (net A-LRN), others before each, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate at the outputs of fc6 and fc7.
    head: 'fc', or 'avgpool': the classifier reads the average of the last map, without fc6 and fc7.
    grid: 'imagenet' averages the last map to 7x7 for fc6; 'native' flattens it as it is.
    width: multiplier of `features` and `hidden`.
    output_stride: 32 as published; 16 and 8 replace the last poolings by ones of stride 1 and
      dilate what follows, so that the stages' maps contain the published ones at every 2nd or 4th
      pixel, for dense prediction.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("head", "hidden", "dropout", "grid")

  num_classes: Classes = 1000
  convs: tuple[Depth, Depth, Depth, Depth, Depth] = (2, 2, 3, 3, 3)
  features: tuple[Channels, Channels, Channels, Channels, Channels] = (64, 128, 256, 512, 512)
  kernel_size: Window = 3
  pointwise: bool = False
  hidden: tuple[Channels, ...] = (4096, 4096)
  downsample: Downsample = "max"
  norm: str = "none"
  act: str = "relu"
  dropout: Dropout = 0.5
  head: Literal["fc", "avgpool"] = "fc"
  grid: Literal["imagenet", "native"] = "imagenet"
  width: Width = 1.0
  output_stride: Literal[32, 16, 8] = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes], the map after each stage's pooling, fc6 and fc7."""
    if self.kernel_size % 2 == 0:
      raise ConfigError(f"kernel_size={self.kernel_size} must be odd in a vgg")
    check_image(x.shape, self.output_stride, f"vgg of {sum(self.convs) + 3} layers")
    layers, response_norm = classic_layers(self.norm, self.act, train=train, dtype=self.dtype)
    # The published nets with batch norm have both its shift and a bias.
    bias = layers.conv_bias or self.norm in ("batch", "frozen_batch")
    layers = layers._replace(conv=partial(layers.conv, use_bias=bias))
    x = x.astype(layers.dtype)
    feats = {}
    for stage in range(1, 6):
      x = self._stage(x, stage, layers, response_norm)
      feats[f"stage{stage}"] = x  # at 224 pixels: 112, 56, 28, 14 and 7
    if not self.num_classes:
      return x, feats
    x = head_input(x, self.head, GRID if self.grid == "imagenet" else None)
    hidden = [scaled(width, self.width) for width in self.hidden] if self.head == "fc" else ()
    logits, last = fully_connected(
      x, layers, self.num_classes, hidden, train=train, dropout=self.dropout
    )
    return logits, feats | last

  def _stage(
    self, x: jax.Array, stage: int, layers: Layers, response_norm: LayerFactory
  ) -> jax.Array:
    halvings = {32: 5, 16: 4, 8: 3}[self.output_stride]
    dilation = 2 ** max(stage - 1 - halvings, 0)
    pooling = Pool(self.downsample, 2)
    for j in range(1, self.convs[stage - 1] + 1):
      kernel_size = 1 if self.pointwise and j > 2 else self.kernel_size
      conv = partial(
        layers.conv,
        scaled(self.features[stage - 1], self.width),
        dilation=dilation,
        name=f"conv{stage}_{j}",
      )
      padding = kernel_size // 2 * dilation
      last = j == self.convs[stage - 1]
      if last and pooling.kind == "stride" and stage <= halvings:
        x = conv_pool(conv, x, kernel_size, 1, padding, pooling)
      else:
        x = conv(kernel_size=kernel_size, padding=padding)(x)
      x = layers.act(layers.norm(name=f"norm{stage}_{j}")(x))
      if (stage, j) == (1, 1):
        x = response_norm(name="norm1_1")(x)
    if stage <= halvings:
      return pool_unless_strided(x, pooling)
    return x if pooling.kind == "stride" else _dense_pool(x, pooling.kind, dilation)


def _dense_pool(x: jax.Array, kind: str, dilation: int) -> jax.Array:
  """Pools 2x2 taps that lie `dilation` apart at every pixel of [batch, height, width, channels]."""
  height, width = x.shape[1:3]
  inside = jnp.pad(jnp.ones((1, height, width, 1), x.dtype), _after(dilation))
  padded = jnp.pad(x, _after(dilation))
  places = [(i, j) for i in (0, dilation) for j in (0, dilation)]
  views = [padded[:, i : i + height, j : j + width] for i, j in places]
  masks = [inside[:, i : i + height, j : j + width] for i, j in places]
  if kind == "avg":
    return sum(views[1:], views[0]) / sum(masks[1:], masks[0])
  best = views[0]
  for view, mask in zip(views[1:], masks[1:], strict=True):
    best = jnp.where((mask > 0) & (view > best), view, best)
  return best


def _after(pixels: int) -> tuple[tuple[int, int], ...]:
  return (0, 0), (0, pixels), (0, pixels), (0, 0)


_NETS: dict[str, Options] = {
  "vgg11": {"convs": (1, 1, 2, 2, 2)},
  "vgg13": {"convs": (2, 2, 2, 2, 2)},
  "vgg16": {"convs": (2, 2, 3, 3, 3)},
  "vgg19": {"convs": (2, 2, 4, 4, 4)},
}
SIZES: dict[str, Options] = {
  **_NETS,
  **{f"{name}_bn": {**net, "norm": "batch"} for name, net in _NETS.items()},
  "vgg11_lrn": {**_NETS["vgg11"], "norm": "lrn"},
  "vgg16_c": {**_NETS["vgg16"], "pointwise": True},
}


def build(name: str, **options: OptionValue) -> VGG:
  """Returns the net called `name` with the given options replaced."""
  return VGG(**{**SIZES[name], **options})
