"""Fully Convolutional Networks for Semantic Segmentation (arXiv:1411.4038).

Scores of the coarsest map, to which those of finer maps are added as they are upsampled:

  fcn32s_*: the coarsest map alone, upsampled by 32 (by the encoder's stride, in general)
  fcn16s_*, fcn8s_*: with the scores of one or two finer maps (figure 3)
  fcn_*: torchvision's: a 3x3 convolution before the scores, an output stride of 8, and an
    auxiliary head

`*` is any classifier of the zoo. On VGG, AlexNet and ZFNet fc6 and fc7 are kept as convolutions,
which is the published net. Scores are upsampled by transposed convolutions that start as bilinear
interpolation and are learned; the last upsampling, to the image's size, stays bilinear (section
4.3). The scores of finer maps start at zero, so that they change nothing at first.

Deviations: maps are padded to keep their size, where the authors pad the image by 100 pixels and
crop; the coarsest scores start at N(0, 0.01), not at zero; all is trained at once, without the
factors of section 4.3's staged training.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.decoder import (
  ConvHead,
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
from cnnlab.models.ranges import Channels, Dropout, Window
from cnnlab.models.registry import family_of
from cnnlab.nn import ConvTranspose
from cnnlab.nn.init import bilinear, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.resize import resize
from cnnlab.types import Options, OptionValue

OUTPUT = "segmentation"


class FullyConvolutional(nn.Module):
  """fc6, fc7, ... as convolutions, and scores: [B,H,W,C] -> [B,H,W,num_classes].

  Attributes:
    layers: conv and act.
    num_classes: number of classes.
    hidden: channels of fc6, fc7, ...; () scores the map as it is.
    window: window of fc6, the later ones have 1.
    dropout: dropout rate after each of them.
  """

  layers: Layers
  num_classes: int
  hidden: tuple[int, ...]
  window: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the scores."""
    window = self.window
    for i, features in enumerate(self.hidden, 6):
      conv = self.layers.conv(
        features,
        window,
        padding="same",
        use_bias=True,
        kernel_init=kaiming_fan_in(),
        name=f"fc{i}",
      )
      x = self.layers.act(conv(x))
      x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
      window = 1
    return score(self.layers, self.num_classes, "head")(x)


class Skips(nn.Module):
  """Adds the scores of finer maps to those of the coarsest one.

  Attributes:
    layers: conv.
    num_classes: number of classes.
    upsampling: see `FCN`.
  """

  layers: Layers
  num_classes: int
  upsampling: Upsampling

  @nn.compact
  def __call__(
    self, scores: jax.Array, maps: Sequence[jax.Array], factors: Sequence[int]
  ) -> jax.Array:
    """Returns scores of the finest map's size.

    Args:
      scores: of the coarsest map, [batch, rows, columns, num_classes].
      maps: finer ones, the coarsest first.
      factors: the upsampling before each of them.
    """
    for k, (finer, factor) in enumerate(zip(maps, factors, strict=True), 1):
      size = finer.shape[1:3]
      if self.upsampling == "transposed":
        up = ConvTranspose(
          self.num_classes,
          2 * factor - factor % 2,
          stride=factor,
          padding="same",
          use_bias=False,
          dtype=self.layers.dtype,
          kernel_init=bilinear,
          name=f"up{k}",
        )
        scores = fitted(up(scores), size, factor)
      added = score(self.layers, self.num_classes, f"skip{k}", nn.initializers.zeros)(finer)
      scores = resize(scores, size) + added
    return scores


class FCN(SegmentationNet):
  """Scores of one, two or three maps, upsampled and summed.

  Attributes:
    skips: number of finer maps whose scores are added: 0, 1 and 2 are 32s, 16s and 8s.
    head: of the coarsest map: 'fc' scores it after the layers of `hidden`, 'conv' after a 3x3
      convolution to a quarter of its channels.
    hidden: channels of fc6, fc7, ... as convolutions, multiplied by the encoder's `width`; () has
      none.
    window: window of fc6.
    head_dropout: dropout rate after fc6, fc7 and the 3x3 convolution.
    upsampling: between the maps: 'transposed' convolutions that start as bilinear interpolation,
      or 'bilinear' interpolation.
    others: see `SegmentationNet`.
  """

  skips: Literal[0, 1, 2] = 0
  head: Literal["fc", "conv"] = "fc"
  hidden: tuple[Channels, ...] = ()
  window: Window = 7
  head_dropout: Dropout = 0.5
  upsampling: Upsampling = "transposed"

  def scores(
    self, maps: Sequence[FeatureMap], feats: Maps, layers: Layers, train: bool
  ) -> jax.Array:
    """Returns the sum of the scores in the finest of their sizes."""
    *finer, last = deepest(maps)[-1 - self.skips :]
    if len(finer) < self.skips:
      raise ConfigError(
        f"skips: {self.skips} finer maps are asked for, but the encoder has {len(finer)} at this "
        "output stride"
      )
    x = self._classifier(feats[last.name].shape[3], layers)(feats[last.name], train=train)
    if not finer:
      return x
    strides = [found.stride for found in (*finer, last)]
    factors = [coarse // fine for fine, coarse in itertools.pairwise(strides)]
    values = [feats[found.name] for found in finer]
    return Skips(layers, self.num_classes, self.upsampling, name="head")(
      x, values[::-1], factors[::-1]
    )

  def _classifier(self, channels: int, layers: Layers) -> nn.Module:
    name, dropout = "classifier", self.head_dropout
    if self.head == "conv":
      return ConvHead(layers, max(1, channels // 4), self.num_classes, dropout, name=name)
    width = getattr(self.encoder, "width", 1.0)
    hidden = tuple(scaled(features, width) for features in self.hidden)
    return FullyConvolutional(layers, self.num_classes, hidden, self.window, dropout, name=name)


DECODERS: dict[str, Options] = {
  "fcn": {"head": "conv", "head_dropout": 0.1, "output_stride": 8, "auxiliary": True},
  "fcn32s": {"skips": 0},
  "fcn16s": {"skips": 1},
  "fcn8s": {"skips": 2},
}
# Families whose fc6 and fc7 the paper turns into convolutions, and their last map's side.
FULLY_CONNECTED = {"vgg": 7, "alexnet": 6, "zfnet": 6}
SIZES = (
  "fcn_resnet50",
  "fcn_resnet101",
  "fcn32s_alexnet_2012",
  "fcn32s_googlenet_2014",
  "fcn32s_vgg16",
  "fcn16s_vgg16",
  "fcn8s_vgg16",
  "fcn8s_resnet18",
)


def build(name: str, **options: OptionValue) -> FCN:
  """Returns the net called `name` with the given options replaced."""
  decoder, encoder = split_name(name, DECODERS)
  defaults = DECODERS[decoder]
  if window := FULLY_CONNECTED.get(family_of(encoder)):
    defaults = {"hidden": (4096, 4096), "window": window, **defaults}
  return around(FCN, encoder, defaults, options)
