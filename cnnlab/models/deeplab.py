"""DeepLabv3: "Rethinking Atrous Convolution for Semantic Image Segmentation" (arXiv:1706.05587).

  deeplabv3_*: atrous spatial pyramid pooling with image-level features (figure 5), with
    torchvision's output stride of 8, 3x3 convolution before the scores, and auxiliary head
  deeplabv3_cascaded_*: block4 of a ResNet three more times as block5 to block7 (figure 3), with
    multi-grid (1, 2, 1) (table 4) and an output stride of 16; scores of the last map

`*` is any classifier of the zoo (cascaded: a ResNet of four stages). `output_stride` is the
encoder's option: 16, 8, or 32 and more for comparison; `multi_grid` is a ResNet's.

Deviations: torchvision's rates of 12, 24 and 36 at an output stride of 8 are the paper's doubled
ones (section 3.3), but the ResNet's blocks have no multi-grid by default, and the paper has no
auxiliary head. The first block of a dilated stage keeps the dilation of the stage before, since
its convolution reads the map before the stride that was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.conv_norm_act import conv_norm_act
from cnnlab.models.decoder import ConvHead, Maps, SegmentationNet, around, score, split_name
from cnnlab.models.encoder import FeatureMap
from cnnlab.models.ranges import Channels, Dropout, Windows
from cnnlab.models.registry import family_of, model_options
from cnnlab.nn import global_avg_pool
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

OUTPUT = "segmentation"
# The output stride for which rates are given; they change with it.
REFERENCE_STRIDE = 16


class AtrousPyramid(nn.Module):
  """ASPP: a 1x1 and dilated 3x3 convolutions of a map, and its average, side by side.

  Maps [batch, height, width, channels] to [batch, height, width, features].

  Attributes:
    layers: conv, norm and act.
    features: channels of each branch and of the 1x1 convolution over all of them.
    rates: dilations of the 3x3 convolutions.
    dropout: dropout rate of the result.
  """

  layers: Layers
  features: int
  rates: tuple[int, ...]
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the map."""

    def branch(x: jax.Array, name: str, window: int = 1, dilation: int = 1) -> jax.Array:
      return conv_norm_act(self.layers, self.features, window, name, dilation=dilation)(x)

    image = branch(global_avg_pool(x)[:, None, None], "image")
    maps = [
      branch(x, "point"),
      *(branch(x, f"atrous{i}", 3, rate) for i, rate in enumerate(self.rates, 1)),
      jnp.broadcast_to(image, (*x.shape[:3], self.features)),
    ]
    x = branch(jnp.concatenate(maps, -1), "project")
    return nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)


class DeepLab(SegmentationNet):
  """Atrous pyramid pooling on the encoder's last map, or the scores of a cascade's.

  Attributes:
    head: 'aspp' and a 3x3 convolution, or 'score': a 1x1 convolution alone.
    rates: dilations of the pyramid's 3x3 convolutions at an output stride of 16; they are doubled
      at 8 and halved at 32.
    head_features: channels of the pyramid's branches and of what follows.
    head_dropout: dropout rate of the pyramid's result.
    others: see `SegmentationNet`.
  """

  head: Literal["aspp", "score"] = "aspp"
  rates: Windows = (6, 12, 18)
  head_features: Channels = 256
  head_dropout: Dropout = 0.5

  def scores(
    self, maps: Sequence[FeatureMap], feats: Maps, layers: Layers, train: bool
  ) -> jax.Array:
    """Returns scores in the size of the encoder's last map."""
    x = feats[maps[-1].name]
    if self.head == "score":
      return score(layers, self.num_classes, "head")(x)
    rates = tuple(max(1, rate * REFERENCE_STRIDE // maps[-1].stride) for rate in self.rates)
    x = AtrousPyramid(layers, self.head_features, rates, self.head_dropout, name="aspp")(
      x, train=train
    )
    return ConvHead(layers, self.head_features, self.num_classes, name="classifier")(x, train=train)


DECODERS: dict[str, Options] = {
  "deeplabv3": {"output_stride": 8, "auxiliary": True},
  "deeplabv3_cascaded": {"head": "score", "output_stride": 16, "multi_grid": (1, 2, 1)},
}
SIZES = (
  "deeplabv3_resnet50",
  "deeplabv3_resnet101",
  "deeplabv3_cascaded_resnet50",
  "deeplabv3_cascaded_resnet101",
)


def build(name: str, **options: OptionValue) -> DeepLab:
  """Returns the net called `name` with the given options replaced.

  Raises:
    ConfigError: a cascade of something other than a ResNet.
  """
  decoder, encoder = split_name(name, DECODERS)
  defaults = DECODERS[decoder]
  if decoder == "deeplabv3_cascaded":
    if family_of(encoder) != "resnet":
      raise ConfigError(
        f"model {name!r}: a cascade repeats the last stage of a ResNet, which {encoder!r} is not; "
        "allowed: deeplabv3_cascaded_resnet50 and the like"
      )
    blocks = model_options(encoder)["blocks"].default
    defaults = {"blocks": (*blocks, *blocks[-1:] * 3), **defaults}
  return around(DeepLab, encoder, defaults, options)
