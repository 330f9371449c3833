"""Encoder-decoders that unpool by switches: SegNet (arXiv:1511.00561) and DeconvNet (arXiv:1505.04366).

Each pooling remembers where its maxima lay (ZFNet's switches, arXiv:1311.2901, section 2.1). The
decoder mirrors the encoder: it places its values at these positions, with zeros elsewhere, and
convolves the sparse map. So it needs no learned upsampling and none of the encoder's maps.

  segnet         VGG-16's 13 convolutions and 13 that mirror them; the last one gives the scores
  segnet_basic   the authors' small net: 4 convolutions of 7x7 and 64 channels, 4 that mirror them
                 without activation, and a 1x1 classifier
  deconvnet      VGG-16 with its two fully connected layers as convolutions, and all of it mirrored

Batch norm follows every convolution but the classifier; a convolution keeps its bias, as published.
DeconvNet's deconvolutions have stride 1, where they are convolutions with the kernel turned around,
and so they are convolutions here. An image of odd size has its last pixels pooled by themselves.

Deviations: Kaiming initial weights where DeconvNet has N(0, 0.01²); no response norm of the input
in `segnet_basic`, which hardly changes centered images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import scaled
from cnnlab.models.ranges import Channels, Classes, Depths, Width, Window
from cnnlab.nn import make_layers, max_pool_with_switches, max_unpool
from cnnlab.nn.layers import Layers, activation
from cnnlab.types import Options, OptionValue

OUTPUT = "segmentation"
# Window of the first fully connected layer.
GRID = 7

Pooled: TypeAlias = tuple[tuple[int, ...], jax.Array]  # a map's size, and its switches


class SegNet(nn.Module):
  """Stages of convolutions with 2x2 max pooling, and their mirror image with unpooling.

  Attributes:
    num_classes: number of classes.
    convs: number of convolutions in each stage of the encoder.
    features: output channels of each stage.
    kernel_size: window of the convolutions.
    hidden: widths of fully connected layers between encoder and decoder, as convolutions.
    pointwise_head: whether a 1x1 convolution after the decoder gives the scores; else its last
      convolution does.
    decoder_act: whether activations follow the decoder's convolutions too.
    norm: normalization, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    width: multiplier of `features` and `hidden`.
    dtype: computation dtype.
  """

  num_classes: Classes = 21
  convs: Depths = (2, 2, 3, 3, 3)
  features: tuple[Channels, ...] = (64, 128, 256, 512, 512)
  kernel_size: Window = 3
  hidden: tuple[Channels, ...] = ()
  pointwise_head: bool = False
  decoder_act: bool = True
  norm: str = "batch"
  act: str = "relu"
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, height, width, classes] and the map after each stage's pooling."""
    if len(self.convs) != len(self.features):
      raise ConfigError(
        f"segnet: convs {self.convs} and features {self.features} differ in their number of stages"
      )
    if self.kernel_size % 2 == 0:
      raise ConfigError(f"kernel_size={self.kernel_size} must be odd in a segnet")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    # As published, a convolution has a bias beside batch norm's shift.
    bias = layers.conv_bias or self.norm in ("batch", "frozen_batch")
    layers = layers._replace(conv=partial(layers.conv, use_bias=bias))
    features = tuple(scaled(channels, self.width) for channels in self.features)
    encoder = Encoder(self.convs, features, self.kernel_size, layers, name="encoder")
    x, feats, pooled = encoder(x.astype(layers.dtype))
    x = self._fully_connected(x, layers)
    if not self.decoder_act:
      layers = layers._replace(act=activation("none"))
    x = decode(
      x,
      pooled,
      self.convs,
      features,
      self.kernel_size,
      layers,
      without_last=not self.pointwise_head,
    )
    feats["pre_logits"] = x
    window = 1 if self.pointwise_head else self.kernel_size
    head = layers.conv(self.num_classes, window, padding=window // 2, use_bias=True, name="head")
    return head(x).astype("float32"), feats

  def _fully_connected(self, x: jax.Array, layers: Layers) -> jax.Array:
    """Applies the hidden layers to every 7x7 window of the last map, and the first one's mirror.

    A map of less than 7 pixels is padded.
    """
    if not self.hidden:
      return x
    height, width, channels = x.shape[1:]
    x = jnp.pad(x, ((0, 0), (0, max(GRID - height, 0)), (0, max(GRID - width, 0)), (0, 0)))
    for i, features in enumerate(self.hidden, 6):
      window = GRID if i == 6 else 1
      x = unit(x, layers, scaled(features, self.width), window, str(i), padding=0)
    x = unit(x, layers, channels, GRID, "6_mirror", padding=GRID - 1)
    return x[:, :height, :width]


class Encoder(nn.Module):
  """VGG's convolutions by VGG's names, so that its weights can start them.

  Attributes:
    convs, features, kernel_size: see `SegNet`.
    layers: of the net.
  """

  convs: tuple[int, ...]
  features: tuple[int, ...]
  kernel_size: int
  layers: Layers

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array], list[Pooled]]:
    """Returns the last map, those after each pooling, and what unpooling needs."""
    feats, pooled = {}, []
    for stage, (count, features) in enumerate(zip(self.convs, self.features, strict=True), 1):
      for j in range(1, count + 1):
        x = unit(x, self.layers, features, self.kernel_size, f"{stage}_{j}")
      size = x.shape[1:3]
      x, switches = max_pool_with_switches(x, 2, fit="pad")
      feats[f"stage{stage}"] = x
      pooled.append((size, switches))
    return x, feats, pooled


def decode(
  x: jax.Array,
  pooled: Sequence[Pooled],
  convs: Sequence[int],
  features: Sequence[int],
  window: int,
  layers: Layers,
  *,
  without_last: bool,
) -> jax.Array:
  """Unpools by the encoder's switches, and convolves by its layers in reverse order.

  Args:
    x: the encoder's last map, or what was made of it.
    pooled: of the encoder.
    convs, features, window: the encoder's.
    layers: of the net.
    without_last: leave out the convolution that mirrors the first, since the net's head does.
  """
  for stage in range(len(features), 0, -1):
    size, switches = pooled[stage - 1]
    x = max_unpool(x, switches, size, window=2)
    last = 2 if stage == 1 and without_last else 1
    for j in range(convs[stage - 1], last - 1, -1):
      outputs = features[stage - 1] if j > 1 else features[max(stage - 2, 0)]
      x = unit(x, layers, outputs, window, f"{stage}_{j}")
  return x


def unit(
  x: jax.Array, layers: Layers, features: int, window: int, name: str, padding: int | None = None
) -> jax.Array:
  """Applies `conv<name>`, `norm<name>` and the activation, by default without change of size."""
  padding = window // 2 if padding is None else padding
  x = layers.conv(features, window, padding=padding, name=f"conv{name}")(x)
  return layers.act(layers.norm(name=f"norm{name}")(x))


SIZES: dict[str, Options] = {
  "segnet": {},
  "segnet_basic": {
    "convs": (1, 1, 1, 1),
    "features": (64, 64, 64, 64),
    "kernel_size": 7,
    "pointwise_head": True,
    "decoder_act": False,
  },
  "deconvnet": {"hidden": (4096, 4096), "pointwise_head": True},
}


def build(name: str, **options: OptionValue) -> SegNet:
  """Returns the net called `name` with the given options replaced."""
  return SegNet(**{**SIZES[name], **options})
