"""Feature Pyramid Networks (arXiv:1612.03144): maps of equal channels from those of an encoder.

What the detectors share: the pyramid on any encoder of the zoo, and the form of what is computed at
each of its positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnlab.annotations import Between, Positive
from cnnlab.boxes import Anchors
from cnnlab.errors import ConfigError
from cnnlab.models.decoder import Maps, encoder_layers, measured_maps
from cnnlab.models.encoder import FeatureMap, deepest
from cnnlab.models.ranges import Channels, Classes, Depth
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import Layer

COCO_CLASSES = 91  # as torchvision counts them: ids of COCO up to 90, and background
Extra = Literal["convolutions", "subsampled", "nothing"]
ADDED = {"convolutions": 2, "subsampled": 1, "nothing": 0}  # maps beyond the encoder's
SAMPLING = "sampling"  # the random stream of what a detector is trained on
# Maps proposals [batch, n, 4], the mask [batch, n] of those that are not padding, and a key to the
# boxes [batch, m, 4] that a second stage gets, and their mask.
Select = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Dense(NamedTuple):
  """What a detector computes for each anchor; a tuple over the maps, from the finest.

  Attributes:
    logits: [batch, anchors, classes], float32.
    offsets: [batch, anchors, 4], float32, as of `cnnlab.boxes.decode`.
    anchors: [anchors, 4] in pixels of the network's input.
  """

  logits: tuple[jax.Array, ...]
  offsets: tuple[jax.Array, ...]
  anchors: tuple[np.ndarray, ...]


class FPN(nn.Module):
  """Lateral 1x1 convolutions, top-down nearest upsampling and sums, 3x3 convolutions (section 3).

  Attributes:
    layers: conv.
    features: channels of each map.
    extra: maps beyond the encoder's: 'convolutions' adds two by 3x3 convolutions of stride 2, the
      second after a ReLU (arXiv:1708.02002, section 4); 'subsampled' every other position of the
      last one (arXiv:1612.03144, section 4.1); 'nothing' adds none.
    top_down: whether finer maps get what coarser ones hold.
  """

  layers: Layers
  features: int
  extra: Extra
  top_down: bool = True

  @nn.compact
  def __call__(self, maps: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    """Returns maps [batch, height, width, features] from the finest to the coarsest.

    Args:
      maps: the encoder's, from the finest to the coarsest.
    """
    merged = self._conv(1, f"lateral{len(maps)}")(maps[-1])
    found = [self._conv(3, f"output{len(maps)}")(merged)]
    for i in range(len(maps) - 1, 0, -1):
      lateral = self._conv(1, f"lateral{i}")(maps[i - 1])
      above = nearest(merged, lateral.shape[1:3])
      merged = lateral + above if self.top_down else lateral
      found.insert(0, self._conv(3, f"output{i}")(merged))
    if self.extra == "nothing":
      return tuple(found)
    if self.extra == "subsampled":
      return (*found, found[-1][:, ::2, ::2])
    found.append(self._conv(3, "extra1", stride=2)(found[-1]))
    return (*found, self._conv(3, "extra2", stride=2)(nn.relu(found[-1])))

  def _conv(self, window: int, name: str, stride: int = 1) -> Layer:
    # He et al.'s uniform form with gain 1, as in torchvision and Detectron.
    start = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
    return self.layers.conv(
      self.features,
      window,
      stride=stride,
      padding=window // 2,
      use_bias=True,
      kernel_init=start,
      name=name,
    )


def nearest(x: jax.Array, size: Sequence[int]) -> jax.Array:
  """Returns a map in another (height, width), by the pixel at floor(i * old / new)."""
  rows, columns = (np.arange(new) * old // new for new, old in zip(size, x.shape[1:3], strict=True))
  return x[:, rows][:, :, columns]


class Pyramid(NamedTuple):
  """The maps that the heads of a detector see.

  Attributes:
    maps: [batch, height, width, features], from the finest to the coarsest.
    strides: of those that are not computed from others on top of the encoder's.
    levels: for each map, the strides that the sizes of its anchors are multiples of.
    feats: of the encoder, and the maps as `fpn0`, ...; in training the key `SAMPLING`.
  """

  maps: tuple[jax.Array, ...]
  strides: tuple[int, ...]
  levels: tuple[tuple[int, ...], ...]
  feats: Maps


class DetectionNet(nn.Module):
  """An encoder and its pyramid (arXiv:1612.03144), to which each detector adds its heads.

  All are called as `net(x, select, train=train)`, where `select` tells what the second stage of a
  detector with two is trained on; the others do without.

  Attributes:
    encoder: a network without classifier, see `create_encoder`.
    num_classes: number of classes, with background, which is the class 0.
    features: channels of the pyramid's maps and of the heads on them.
    levels: number of maps that the pyramid takes from the encoder, counted from the coarsest; fewer
      if the encoder has no more.
    top_down: whether the pyramid's finer maps get what coarser ones hold (table 1, d, where not).
    one_map: stride of the encoder's only map that the heads see, in place of a pyramid
      (table 1, a and b); it has the anchors of all of the pyramid's maps. 0: the
      pyramid.
    anchor_scale: by which the anchors are larger than published, for objects of other sizes.
  """

  encoder: nn.Module
  num_classes: Classes = COCO_CLASSES
  features: Channels = 256
  levels: Depth = 4
  top_down: bool = True
  one_map: Annotated[int, Between(0, 1024)] = 0
  anchor_scale: Positive = 1.0

  def pyramid(self, x: jax.Array, layers: Layers, extra: Extra, *, train: bool) -> Pyramid:
    """Returns the maps of images [batch, height, width, channels].

    Raises:
      ConfigError: the encoder has no map of the stride `one_map`.
    """
    maps = deepest(measured_maps(self.encoder.clone(parent=None, name=None), x.shape[1:]))
    used = maps[-self.levels :]
    count = len(used) + ADDED[extra]
    levels = tuple((used[0].stride * 2**i,) for i in range(count))
    if self.one_map:
      used, extra = (self._only(maps),), "nothing"
      levels = (tuple(stride for level in levels for stride in level),)
    _, feats = self.encoder(x, train=train)
    pyramid = FPN(layers, self.features, extra, self.top_down, name="fpn")
    found = pyramid([feats[one.name] for one in used])
    named = {f"fpn{i}": value for i, value in enumerate(found)}
    if train and self.has_rng(SAMPLING):
      named[SAMPLING] = self.make_rng(SAMPLING)
    return Pyramid(found, tuple(one.stride for one in used), levels, {**feats, **named})

  def _only(self, maps: Sequence[FeatureMap]) -> FeatureMap:
    for one in maps:
      if one.stride == self.one_map:
        return one
    strides = ", ".join(str(one.stride) for one in maps)
    raise ConfigError(
      f"config key 'model.one_map' is {self.one_map}; the encoder has maps of the strides {strides}"
    )

  def anchors(
    self, x: jax.Array, pyramid: Pyramid, factors: Sequence[float]
  ) -> tuple[tuple[np.ndarray, ...], int]:
    """Returns the anchors of each map, and their number at a position.

    Args:
      x: images [batch, height, width, channels].
      pyramid: their maps.
      factors: sizes of the anchors over a stride; sizes are rounded down to whole pixels.
    """
    sizes = tuple(
      tuple(
        float(max(1, int(factor * stride * self.anchor_scale)))
        for stride in level
        for factor in factors
      )
      for level in pyramid.levels
    )
    anchors = Anchors(sizes)
    map_sizes = [(one.shape[1], one.shape[2]) for one in pyramid.maps]
    return anchors((x.shape[1], x.shape[2]), map_sizes), anchors.per_position[0]

  def layers(self, *, train: bool) -> Layers:
    """Returns layers with norm, activation and dtype of the encoder."""
    return encoder_layers(self.encoder, train=train)


def by_anchor(x: jax.Array, values: int) -> jax.Array:
  """Returns [batch, height * width * anchors, values] of [batch, height, width, anchors * values]."""
  return x.astype(jnp.float32).reshape(len(x), -1, values)
