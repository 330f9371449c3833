"""U-Net: "Convolutional Networks for Biomedical Image Segmentation" (arXiv:1505.04597), figure 1.

  unet: the published net: four times two 3x3 convolutions and 2x2 max pooling, from 64 channels to
    1024, and back by 2x2 up-convolutions that halve them, each followed by the map of the same
    size and two 3x3 convolutions; 23 convolutional layers
  unet_*: the expanding path on any classifier of the zoo, down to the image's size; where the
    classifier has no map as large (an ImageNet stem starts at a half), without one

The expanding path of `unet_*` has residual blocks (`residual_blocks=False`: two convolutions).

Deviations: convolutions are padded, so that the output has the image's size (572 gives 388 in the
paper); maps of odd size are padded by a pixel for pooling and cropped behind the up-convolution.
The dropout of 0.5 at the end of the contracting path is that of the authors' code; the paper states
no rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.annotations import NotEmpty
from cnnlab.models.decoder import (
  Maps,
  SegmentationNet,
  Upsampling,
  around,
  fitted,
  score,
  split_name,
)
from cnnlab.models.downsampling import scaled
from cnnlab.models.encoder import FeatureMap, deepest
from cnnlab.models.ranges import Channels, Classes, Dropout, Width
from cnnlab.models.residual import Block
from cnnlab.nn import ConvTranspose, check_image, make_layers, max_pool
from cnnlab.nn.init import kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.resize import resize
from cnnlab.types import Options, OptionValue

OUTPUT = "segmentation"


class DoubleConv(nn.Module):
  """Two 3x3 convolutions with norm and activation: [B,H,W,C] -> [B,H,W,features].

  Attributes:
    layers: conv, norm and act.
    features: channels of both.
  """

  layers: Layers
  features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns the map."""
    conv = partial(self.layers.conv, self.features, 3, padding=1, kernel_init=kaiming_fan_in())
    for i in (1, 2):
      x = self.layers.act(self.layers.norm(name=f"norm{i}")(conv(name=f"conv{i}")(x)))
    return x


class ContractingPath(nn.Module):
  """Levels of two convolutions with 2x2 max pooling between them.

  Attributes:
    features: channels of each level.
    norm: normalization, see `cnnlab.nn.NORMS`; the paper has none.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate of the last two levels' maps.
    width: multiplier of `features`.
    dtype: computation dtype.
  """

  features: Annotated[tuple[Channels, ...], NotEmpty()] = (64, 128, 256, 512, 1024)
  norm: str = "none"
  act: str = "relu"
  dropout: Dropout = 0.5
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the last map and the maps of all levels."""
    levels = len(self.features)
    check_image(x.shape, 2 ** (levels - 1), "unet")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x, feats = x.astype(layers.dtype), {}
    for level, features in enumerate(self.features, 1):
      if level > 1:
        x = max_pool(x, 2, fit="pad")
      x = DoubleConv(layers, scaled(features, self.width), name=f"level{level}")(x)
      if level > levels - 2:
        x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{level}")(x)
      feats[f"level{level}"] = x
    return x, feats


class Expansion(nn.Module):
  """A step of the expanding path: upsampling, the encoder's map beside it, and convolutions.

  Attributes:
    layers: conv, norm and act.
    features: channels of the result.
    factor: of the upsampling.
    upsampling, residual_blocks: see `UNet`.
  """

  layers: Layers
  features: int
  factor: int
  upsampling: Upsampling
  residual_blocks: bool

  @nn.compact
  def __call__(self, x: jax.Array, skip: jax.Array | None, *, train: bool) -> jax.Array:
    """Returns [batch, height, width, features], of the size of `skip` where there is one."""
    layers, factor = self.layers, self.factor
    if self.upsampling == "transposed":
      x = ConvTranspose(self.features, factor, stride=factor, dtype=layers.dtype, name="up")(x)
    else:
      x = layers.conv(self.features, 1, use_bias=True, name="up")(x)
      x = resize(x, [side * factor for side in x.shape[1:3]])
    if skip is not None:
      x = jnp.concatenate([skip, fitted(x, skip.shape[1:3], factor)], -1)
    if self.residual_blocks:
      return Block(layers, self.features, projection=True, name="block")(x, train=train)
    return DoubleConv(layers, self.features, name="convs")(x)


class UNet(SegmentationNet):
  """An encoder, and an expanding path that takes up its maps.

  Attributes:
    upsampling: 'transposed' convolutions, or a 1x1 convolution and 'bilinear' interpolation.
    residual_blocks: the expanding path has residual blocks instead of pairs of convolutions.
    others: see `SegmentationNet`.
  """

  num_classes: Classes = 2
  upsampling: Upsampling = "transposed"
  residual_blocks: bool = False

  def scores(
    self, maps: Sequence[FeatureMap], feats: Maps, layers: Layers, train: bool
  ) -> jax.Array:
    """Returns scores in the image's size."""
    *finer, last = deepest(maps)
    x, stride, features = feats[last.name], last.stride, last.channels
    skips = {found.stride: feats[found.name] for found in finer}
    while stride > 1:
      # Above the encoder's finest map the path goes on alone.
      target = max((s for s in skips if s < stride), default=stride // 2)
      skip = skips.get(target)
      features = max(1, features // 2) if skip is None else skip.shape[3]
      step = Expansion(
        layers,
        features,
        stride // target,
        self.upsampling,
        self.residual_blocks,
        name=f"expansion{target}",
      )
      x, stride = step(x, skip, train=train), target
    # As in the paper (section 3). From smaller weights, which are nearly the same for all classes,
    # narrow nets learn to switch all channels off at rare classes, and then nothing more.
    return score(layers, self.num_classes, "head", kaiming_fan_in())(x)


DECODERS: dict[str, Options] = {"unet": {"residual_blocks": True}}
SIZES = ("unet", "unet_resnet18", "unet_resnet34", "unet_resnet50")


def build(name: str, **options: OptionValue) -> UNet:
  """Returns the net called `name` with the given options replaced."""
  if name == "unet":
    return around(UNet, ContractingPath, {}, options)
  decoder, encoder = split_name(name, DECODERS)
  return around(UNet, encoder, DECODERS[decoder], options)
