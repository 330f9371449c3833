"""Autoencoders: "Reducing the Dimensionality of Data with Neural Networks" (Science 313, 2006).

  autoencoder_dense           784-1000-500-250-30 and its mirror image, the paper's net for MNIST
  autoencoder_<classifier>    any classifier without its head, and a decoder of transposed
                              convolutions (arXiv:1112.6209 and others) with as many channels
  autoencoder_unpooling       VGG's convolutions, and a decoder that places its values where the
                              maxima of each pooling lay: the what-where autoencoder (arXiv:1506.02351)

The network returns the image [batch, height, width, channels], and what it was made of as
`feats['code']`. The decoder of `autoencoder_unpooling` is also told where the maxima lay, which is no
part of its code. Parameters of the encoder are those of a classifier below the prefix `encoder`, so that
`init_from` starts a classifier with them: the same one; `convnet` with `features=()` and the same `hidden`
for `autoencoder_dense`; a VGG with the same `convs` and `features` for `autoencoder_unpooling`.

Deviation: ReLU from Kaiming initial weights, where the paper trains logistic units layer by layer.
"""

from __future__ import annotations

import math
from functools import partial

import jax
from flax import linen as nn

from cnnlab.annotations import Whole
from cnnlab.models.decoder import around, encoder_layers, fitted, measured_maps
from cnnlab.models.downsampling import scaled
from cnnlab.models.encoder import deepest
from cnnlab.models.ranges import Channels, Depths, Width
from cnnlab.models.segnet import Encoder, decode
from cnnlab.nn import ConvTranspose, make_layers
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

OUTPUT = "reconstruction"
CODE = "code"  # among `feats`

Result = tuple[jax.Array, dict[str, jax.Array]]


class Autoencoder(nn.Module):
  """A classifier without its head, and transposed convolutions back to the image.

  The decoder has a layer for each stride of the encoder, with the channels of its map there.

  Attributes:
    encoder: see `cnnlab.models.create_encoder`.
    code: numbers in a fully connected code; 0: the encoder's last map is the code.
  """

  encoder: nn.Module
  code: Whole = 0

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> Result:
    """Returns the image, float32, and the encoder's maps with the code."""
    finer = deepest(measured_maps(self.encoder.clone(parent=None, name=None), x.shape[1:]))
    layers = encoder_layers(self.encoder, train=train)
    channels, size = x.shape[3], (x.shape[1], x.shape[2])
    x, feats = self.encoder(x, train=train)
    code, x = self._coded(x, layers)
    stride = finer[-1].stride
    targets = [(found.stride, found.channels, found.size) for found in reversed(finer[:-1])]
    if finer[0].stride > 1:
      targets.append((1, finer[0].channels, size))
    for target, features, target_size in targets:
      factor = stride // target
      conv = ConvTranspose(
        features,
        2 * factor,
        factor,
        "same",
        use_bias=layers.conv_bias,
        dtype=layers.dtype,
        name=f"decoder{target}",
      )
      x = layers.act(layers.norm(name=f"decoder{target}_norm")(conv(x)))
      x, stride = fitted(x, target_size, factor), target
    return _image(x, channels, layers), {**feats, CODE: code}

  def _coded(self, x: jax.Array, layers: Layers) -> tuple[jax.Array, jax.Array]:
    """Returns the code of the last map, and what the decoder begins with."""
    if not self.code:
      return x, x
    code = layers.dense(self.code, name=CODE)(x.reshape(len(x), -1))
    wide = layers.dense(math.prod(x.shape[1:]), kernel_init=kaiming_fan_in(), name="decoder")(code)
    return code, layers.act(wide).reshape(x.shape)


class DenseAutoencoder(nn.Module):
  """Fully connected layers, and their mirror image.

  Attributes:
    hidden: widths of the encoder's layers.
    code: numbers in the code, whose units are linear.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dtype: computation dtype.
  """

  hidden: tuple[Channels, ...] = (1000, 500, 250)
  code: Channels = 30
  act: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> Result:
    """Returns the image, float32, and the encoder's layers with the code."""
    layers = make_layers("none", self.act, train=train, dtype=self.dtype)
    shape = x.shape
    x, feats = DenseEncoder(self.hidden, layers, name="encoder")(x)
    code = x = layers.dense(self.code, name=CODE)(x)
    for i in range(len(self.hidden), 0, -1):
      x = _hidden(x, layers, self.hidden[i - 1], f"decoder{i}")
    head = layers.dense(math.prod(shape[1:]), kernel_init=classifier_normal(), name="head")
    return head(x).astype("float32").reshape(shape), {**feats, CODE: code}


class DenseEncoder(nn.Module):
  """The hidden layers of `convnet`, by its names.

  Attributes:
    hidden: see `DenseAutoencoder`.
    layers: of the net.
  """

  hidden: tuple[int, ...]
  layers: Layers

  @nn.compact
  def __call__(self, x: jax.Array) -> Result:
    """Returns the last layer [batch, units], and all of them."""
    x, feats = x.astype(self.layers.dtype).reshape(len(x), -1), {}
    for i, width in enumerate(self.hidden, 1):
      x = feats[f"hidden{i}"] = _hidden(x, self.layers, width, f"hidden{i}")
    return x, feats


class UnpoolingAutoencoder(nn.Module):
  """SegNet's encoder and decoder, from image to image.

  Attributes:
    convs, features, norm, act, width, dtype: see `cnnlab.models.segnet.SegNet`.
  """

  convs: Depths = (1, 1, 2, 2, 2)
  features: tuple[Channels, ...] = (64, 128, 256, 512, 512)
  norm: str = "batch"
  act: str = "relu"
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> Result:
    """Returns the image, float32, and the map after each pooling; the last one is the code."""
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    bias = layers.conv_bias or self.norm in ("batch", "frozen_batch")  # as VGG has it
    layers = layers._replace(conv=partial(layers.conv, use_bias=bias))
    features = tuple(scaled(channels, self.width) for channels in self.features)
    channels = x.shape[3]
    encoder = Encoder(self.convs, features, 3, layers, name="encoder")
    code, feats, pooled = encoder(x.astype(layers.dtype))
    x = decode(code, pooled, self.convs, features, 3, layers, without_last=True)
    return _image(x, channels, layers), {**feats, CODE: code}


def _hidden(x: jax.Array, layers: Layers, width: int, name: str) -> jax.Array:
  return layers.act(layers.dense(width, kernel_init=kaiming_fan_in(), name=name)(x))


def _image(x: jax.Array, channels: int, layers: Layers) -> jax.Array:
  start = classifier_normal()
  head = layers.conv(channels, 3, padding=1, use_bias=True, kernel_init=start, name="head")
  return head(x).astype("float32")


DECODERS: dict[str, Options] = {"autoencoder": {}}
SIZES: dict[str, Options] = {
  "autoencoder_dense": {},
  "autoencoder_convnet": {},
  "autoencoder_unpooling": {},
}


def build(name: str, **options: OptionValue) -> nn.Module:
  """Returns the net called `name` with the given options replaced."""
  if name == "autoencoder_dense":
    return DenseAutoencoder(**options)
  if name == "autoencoder_unpooling":
    return UnpoolingAutoencoder(**options)
  return around(Autoencoder, name.removeprefix("autoencoder_"), {}, options)
