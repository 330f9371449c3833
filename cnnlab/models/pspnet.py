"""Pyramid Scene Parsing Network (arXiv:1612.01105), figure 3.

`pspnet_*` on any classifier of the zoo: its last map at an output stride of 8, where it has that
option; the same map pooled to 1x1, 2x2, 3x3 and 6x6 regions, each reduced by a 1x1 convolution to
a quarter of the channels, interpolated back and concatenated; a 3x3 convolution, and scores. An
auxiliary head on the map before the last stage (section 3.3; the paper weighs its loss by 0.4).

Deviations: the ResNets have torchvision's stem of one 7x7 convolution, where the authors' have three
3x3; interpolation has pixels' centers at halves (PyTorch's `align_corners=False`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.annotations import NotEmpty
from cnnlab.models.conv_norm_act import conv_norm_act
from cnnlab.models.decoder import ConvHead, Maps, SegmentationNet, around, split_name
from cnnlab.models.encoder import FeatureMap
from cnnlab.models.ranges import Dropout, Window
from cnnlab.nn.layers import Layers
from cnnlab.nn.pool import adaptive_avg_pool, adaptive_max_pool
from cnnlab.nn.resize import resize
from cnnlab.types import Options, OptionValue

OUTPUT = "segmentation"
POOLS = {"avg": adaptive_avg_pool, "max": adaptive_max_pool}


class PyramidPooling(nn.Module):
  """Regional averages or maxima of a map at several scales, beside the map itself.

  Maps [batch, height, width, channels] to [batch, height, width, 2 * channels].

  Attributes:
    layers: conv, norm and act.
    bins: numbers of regions along each axis.
    pooling: 'avg' or 'max' of each region.
  """

  layers: Layers
  bins: tuple[int, ...]
  pooling: str

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns the map and its pooled forms, concatenated."""
    features = max(1, x.shape[3] // len(self.bins))
    maps = [x]
    for count in self.bins:
      y = POOLS[self.pooling](x, count)
      y = conv_norm_act(self.layers, features, 1, f"bin{count}")(y)
      maps.append(resize(y, x.shape[1:3]))
    return jnp.concatenate(maps, -1)


class PSPNet(SegmentationNet):
  """Pyramid pooling of the encoder's last map.

  Attributes:
    bins: numbers of regions along each axis, in each level of the pyramid.
    pooling: of the regions.
    head_dropout: dropout rate before the scores.
    others: see `SegmentationNet`.
  """

  auxiliary: bool = True
  bins: Annotated[tuple[Window, ...], NotEmpty()] = (1, 2, 3, 6)
  pooling: Literal["avg", "max"] = "avg"
  head_dropout: Dropout = 0.1

  def scores(
    self, maps: Sequence[FeatureMap], feats: Maps, layers: Layers, train: bool
  ) -> jax.Array:
    """Returns scores in the size of the encoder's last map."""
    x = feats[maps[-1].name]
    features = max(1, x.shape[3] // 4)
    x = PyramidPooling(layers, self.bins, self.pooling, name="pyramid")(x)
    return ConvHead(layers, features, self.num_classes, self.head_dropout, name="classifier")(
      x, train=train
    )


DECODERS: dict[str, Options] = {"pspnet": {"output_stride": 8}}
SIZES = ("pspnet_resnet50", "pspnet_resnet101")


def build(name: str, **options: OptionValue) -> PSPNet:
  """Returns the net called `name` with the given options replaced."""
  decoder, encoder = split_name(name, DECODERS)
  return around(PSPNet, encoder, DECODERS[decoder], options)
