"""AlexNet: "ImageNet Classification with Deep Convolutional Neural Networks" (NIPS 2012).

Five convolutions, three of them with overlapping 3x3/2 max pooling, and three fully connected
layers. `alexnet_2012` is figure 2's net of two groups (60,965,224 parameters; the groups meet in
the third convolution), with local response norm after the first two activations, dropout on the
outputs of fc6 and fc7, and section 5's initial weights. `alexnet` is torchvision's, the single
tower of "One weird trick" (arXiv:1404.5997, footnote 1) with its dropout on the inputs, and
Kaiming initial weights.

Deviation: section 3.5's images of 224 pixels do not give its map of 55; two pixels of padding and
cropping what does not fit (as in torchvision) do. Images of other sizes, which the paper does not
have, are averaged to the 6x6 map that fc6 expects (as in torchvision).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from cnnlab.annotations import Whole
from cnnlab.models.classic import (
  Pool,
  classic_layers,
  conv_pool,
  fully_connected,
  head_input,
  pool_unless_strided,
)
from cnnlab.models.downsampling import Downsample, scaled
from cnnlab.models.ranges import Channels, Classes, Dropout, PaddingSize, Width, Window
from cnnlab.models.stem import Stem, check_stem
from cnnlab.nn.init import classifier_normal, kaiming_fan_in, kaiming_fan_out
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import LayerFactory
from cnnlab.types import Options, OptionValue

# Side of the map that fc6 expects.
GRID = 6
POOLED = (1, 2, 5)
RESPONSE_NORMED = (1, 2)


class AlexNet(nn.Module):
  """Five convolutions and three fully connected layers.

  Attributes:
    num_classes: number of classes.
    features: output channels of the five convolutions.
    kernel_sizes: windows of the convolutions.
    strides: strides of the convolutions.
    paddings: zero padding of the convolutions.
    groups: number of groups of each convolution.
    hidden: widths of fc6 and fc7.
    stem: 'imagenet' as published; 'cifar' makes the first convolution 3x3 with stride 1, all
      others of stride 1, and fc6 takes the last map as it is (3x3 for 32 pixels).
    downsample: 'max' or 'avg' pooling after convolutions 1, 2 and 5, or a 'stride' in them.
    pool_window: window of the pooling; 3 overlaps, 2 does not.
    pool_fit: 'crop' or 'pad' where the windows do not fit.
    norm: 'lrn' after activations 1 and 2, others before each, see `cnnlab.nn.NORMS`.
    norm_after_pool: local response norm comes after the pooling instead of before it.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate in fc6 and fc7.
    dropout_at: 'input' or 'output' of fc6 and fc7.
    head: 'fc', or 'avgpool': the classifier reads the average of the last map, without fc6 and fc7.
    initial: 'kaiming', or 'paper': N(0, 0.01²) everywhere.
    ones: convolutions whose bias 'paper' initializes to 1; if there are any, fc6 and fc7 as well.
    width: multiplier of `features` and `hidden`.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("head", "hidden", "dropout", "dropout_at")

  num_classes: Classes = 1000
  features: tuple[Channels, Channels, Channels, Channels, Channels] = (64, 192, 384, 256, 256)
  kernel_sizes: tuple[Window, Window, Window, Window, Window] = (11, 5, 3, 3, 3)
  strides: tuple[Window, Window, Window, Window, Window] = (4, 1, 1, 1, 1)
  paddings: tuple[PaddingSize, PaddingSize, PaddingSize, PaddingSize, PaddingSize] = (2, 2, 1, 1, 1)
  groups: tuple[Channels, Channels, Channels, Channels, Channels] = (1, 1, 1, 1, 1)
  hidden: tuple[Channels, ...] = (4096, 4096)
  stem: Stem = "imagenet"
  downsample: Downsample = "max"
  pool_window: Literal[2, 3] = 3
  pool_fit: Literal["crop", "pad"] = "crop"
  norm: str = "none"
  norm_after_pool: bool = False
  act: str = "relu"
  dropout: Dropout = 0.5
  dropout_at: Literal["input", "output"] = "input"
  head: Literal["fc", "avgpool"] = "fc"
  initial: Literal["kaiming", "paper"] = "kaiming"
  ones: tuple[Whole, ...] = ()
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes], the map after each convolution's pooling, fc6, fc7."""
    cifar = self.stem == "cifar"
    stride = 8 if cifar else self.strides[0] * self.strides[1] * 8
    check_stem(x.shape, self.stem, stride, "alexnet or zfnet", classifies=self.num_classes > 0)
    layers, response_norm = classic_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x = x.astype(layers.dtype)
    feats = {}
    for i in range(1, 6):
      x = self._layer(x, i, layers, response_norm)
      feats[f"conv{i}"] = x  # at 224 pixels: 27, 13, 13, 13 and 6
    if not self.num_classes:
      return x, feats
    x = head_input(x, self.head, None if cifar else GRID)
    paper = self.initial == "paper"
    dense = partial(
      layers.dense,
      kernel_init=classifier_normal() if paper else kaiming_fan_in(),
      bias_init=nn.initializers.constant(1.0 if paper and self.ones else 0.0),
    )
    logits, last = fully_connected(
      x,
      layers,
      self.num_classes,
      [scaled(width, self.width) for width in self.hidden] if self.head == "fc" else (),
      train=train,
      dropout=self.dropout,
      dropout_at=self.dropout_at,
      dense=dense,
    )
    return logits, feats | last

  def _layer(self, x: jax.Array, i: int, layers: Layers, response_norm: LayerFactory) -> jax.Array:
    features = scaled(self.features[i - 1], self.width)
    kernel_size, stride = self.kernel_sizes[i - 1], self.strides[i - 1]
    padding, groups = self.paddings[i - 1], self.groups[i - 1]
    if self.stem == "cifar":
      kernel_size, stride = 3 if i == 1 else kernel_size, 1
      padding = kernel_size // 2
    paper = self.initial == "paper"
    bias = 1.0 if paper and i in self.ones else 0.0
    conv = partial(
      layers.conv,
      # Groups must divide the channels whatever the width.
      -(-features // groups) * groups,
      groups=groups,
      kernel_init=classifier_normal() if paper else kaiming_fan_out(),
      bias_init=nn.initializers.constant(bias),
      name=f"conv{i}",
    )
    pooling = Pool(self.downsample, self.pool_window, 2, self.pool_fit)
    if i in POOLED and pooling.kind == "stride":
      x = conv_pool(conv, x, kernel_size, stride, padding, pooling)
    else:
      x = conv(kernel_size=kernel_size, stride=stride, padding=padding)(x)
    x = layers.act(layers.norm(name=f"norm{i}")(x))
    if i in RESPONSE_NORMED and not self.norm_after_pool:
      x = response_norm(name=f"norm{i}")(x)
    if i in POOLED:
      x = pool_unless_strided(x, pooling)
    if i in RESPONSE_NORMED and self.norm_after_pool:
      x = response_norm(name=f"norm{i}")(x)
    return x


SIZES: dict[str, Options] = {
  "alexnet": {},
  "alexnet_2012": {
    "features": (96, 256, 384, 384, 256),
    "groups": (1, 2, 1, 2, 2),
    "norm": "lrn",
    "dropout_at": "output",
    "initial": "paper",
    "ones": (2, 4, 5),
  },
}


def build(name: str, **options: OptionValue) -> AlexNet:
  """Returns the net called `name` with the given options replaced."""
  return AlexNet(**{**SIZES[name], **options})
