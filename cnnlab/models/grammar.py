"""The grammar of CS231n: INPUT -> [[CONV->RELU]*N -> POOL?]*M -> [FC->RELU]*K -> FC.

N is `convs_per_block`, M the length of `features`, K the length of `hidden`. A pooling layer can
be replaced as in "Striving for Simplicity" (arXiv:1412.6806, section 2): by a stride in the
convolution before it ('stride'), or by a convolution of its own with that stride and as many
channels ('conv'), so that the stack has as many layers as the pooled one with its pools.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from cnnlab.models.classic import classic_layers
from cnnlab.models.downsampling import pool, scaled
from cnnlab.models.ranges import Channels, Classes, Depth, Dropout, Width, Window
from cnnlab.nn import LocallyConnected, check_image, global_avg_pool, make_layers
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import LayerFactory
from cnnlab.types import Options, OptionValue

RESPONSE_NORMED = 2  # blocks that end with local response norm where that is the norm


class ConvNet(nn.Module):
  """A stack of blocks of convolutions, each followed by norm and activation, and a classifier.

  Convolutions start at Kaiming fan-out. Hidden fully connected layers start at Kaiming fan-in: a
  fan-out start multiplies the scale of a flattened map of D pixels by sqrt(2D / width).

  Attributes:
    num_classes: number of classes.
    features: output channels of each block.
    convs_per_block: N, the number of convolutions in each block.
    hidden: widths of the fully connected layers before the last.
    kernel_size: window of the convolutions.
    downsample: 'max' or 'avg' pooling after a block, 'stride' in its last convolution, 'conv' for
      a 3x3 convolution of that stride instead of pooling, 'none'.
    pool_window: window of the pooling.
    pool_stride: stride of the pooling, or of the convolution that replaces it.
    pool_fit: 'exact' raises ShapeError if the pooling does not fit; 'crop' or 'pad' ('pad' gives
      the sizes of the strided forms).
    padding: 'same' keeps the size in convolutions, 'valid' pads nothing.
    head: 'fc' flattens the last map, 'avgpool' averages it.
    shared: whether a convolution's filter is shared by all positions; False gives each position
      its own (`cnnlab.nn.LocallyConnected`).
    norm: normalization after the convolutions, see `cnnlab.nn.NORMS`; 'lrn' as AlexNet has it, after
      the last activation of the first two blocks, before their pooling.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate at the input of each fully connected layer.
    width: multiplier of `features` and `hidden`.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("head", "hidden", "dropout")

  num_classes: Classes = 10
  features: tuple[Channels, ...] = (32, 64)
  convs_per_block: Depth = 1
  hidden: tuple[Channels, ...] = (128,)
  kernel_size: Window = 3
  downsample: Literal["max", "avg", "stride", "conv", "none"] = "max"
  pool_window: Window = 2
  pool_stride: Window = 2
  pool_fit: Literal["exact", "crop", "pad"] = "exact"
  padding: Literal["same", "valid"] = "same"
  head: Literal["fc", "avgpool"] = "fc"
  shared: bool = True
  norm: str = "none"
  act: str = "relu"
  dropout: Dropout = 0.0
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the map after each block."""
    stride = 1 if self.downsample == "none" else self.pool_stride
    check_image(x.shape, stride ** len(self.features), "convnet")
    layers, response_norm = classic_layers(self.norm, self.act, train=train, dtype=self.dtype)
    if not self.shared:
      # Each position starts as the shared filter does.
      start = nn.initializers.variance_scaling(2.0, "fan_out", "normal", batch_axis=(0, 1))
      local = partial(LocallyConnected, fit="crop", kernel_init=start, dtype=layers.dtype)
      layers = layers._replace(conv=local)
    identity = make_layers("none", train=False).norm
    feats = {}
    x = x.astype(layers.dtype)
    for i, features in enumerate(self.features, 1):
      after = response_norm if i <= RESPONSE_NORMED else identity
      x = self._block(x, scaled(features, self.width), f"block{i}", layers, after)
      feats[f"block{i}"] = x
    if not self.num_classes:
      return x, feats
    x = global_avg_pool(x) if self.head == "avgpool" else x.reshape(x.shape[0], -1)
    for i, features in enumerate(self.hidden, 1):
      x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
      x = layers.dense(
        scaled(features, self.width), kernel_init=kaiming_fan_in(), name=f"hidden{i}"
      )(x)
      x = layers.act(x)
      feats[f"hidden{i}"] = x
    feats["pre_logits"] = x
    x = nn.Dropout(self.dropout, deterministic=not train, name="dropout_head")(x)
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _block(
    self, x: jax.Array, features: int, name: str, layers: Layers, after: LayerFactory
  ) -> jax.Array:
    for j in range(1, self.convs_per_block + 1):
      strided = self.downsample == "stride" and j == self.convs_per_block
      stride = self.pool_stride if strided else 1
      x = layers.conv(
        features, self.kernel_size, stride=stride, padding=self.padding, name=f"{name}_conv{j}"
      )(x)
      x = layers.act(layers.norm(name=f"{name}_norm{j}")(x))
    x = after(name=f"{name}_response_norm")(x)
    if self.downsample == "conv":
      x = layers.conv(
        features, 3, stride=self.pool_stride, padding="same", name=f"{name}_conv_down"
      )(x)
      return layers.act(layers.norm(name=f"{name}_norm_down")(x))
    if self.downsample in ("max", "avg"):
      return pool(self.downsample, x, self.pool_window, self.pool_stride, 0, self.pool_fit)
    return x


SIZES: dict[str, Options] = {"convnet": {}}


def build(name: str, **options: OptionValue) -> ConvNet:
  """Returns the net called `name` with the given options replaced."""
  return ConvNet(**{**SIZES[name], **options})
