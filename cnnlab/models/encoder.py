"""The maps that a network offers to a decoder, described uniformly for every family.

    maps = pyramid(create_model("resnet50"), (224, 224, 3))
    # (FeatureMap('stage1', 4, 256, (56, 56)), ..., FeatureMap('stage4', 32, 2048, (7, 7)))
    _, feats = model.apply(variables, images, train=train)
    finest_first = [feats[m.name] for m in maps]

Families name their maps differently; a decoder reads names, strides and channels from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models.registry import create_model, require_output
from cnnlab.types import OptionValue

# Pixels added to the image in order to measure strides, which divide them; the first works for all
# but unusual nets, up to a cascade's stride of 256.
_GROWTHS = (256, 192, 448, 960)


@dataclasses.dataclass(frozen=True)
class FeatureMap:
  """A spatial map [batch, *size, channels] among a network's `feats`.

  Attributes:
    name: key of `feats`.
    stride: distance between neighboring positions, in pixels of the image.
    channels: number of channels.
    size: (height, width) for the image shape that was asked for; image size / stride unless a
      layer without padding crops the map.
  """

  name: str
  stride: int
  channels: int
  size: tuple[int, int]


def feature_maps(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[FeatureMap, ...]:
  """Returns a network's maps from the finest to the coarsest, in order of depth.

  The last one is the map that the classifier reads: after the last norm and activation, and before
  any layer that produces classes. Maps are measured by abstract evaluation at two image sizes;
  nothing is computed.

  Args:
    model: network whose `apply` returns `(logits, feats)`.
    image_shape: (height, width, channels) of an image.

  Raises:
    ConfigError: the network has no spatial maps, or one whose stride is not a whole number.
    ShapeError: the image is too small for the network.
  """
  shapes = _map_shapes(model, image_shape)
  if not shapes:
    raise ConfigError(f"{type(model).__name__} has no spatial maps for a decoder")
  growth, larger = _grown(model, image_shape)
  maps = []
  for name, (height, width, channels) in shapes.items():
    added = larger[name][0] - height, larger[name][1] - width
    if added[0] != added[1] or added[0] < 1 or growth % added[0]:
      raise ConfigError(f"map {name!r} of {type(model).__name__} has no constant stride")
    maps.append(FeatureMap(name, growth // added[0], channels, (height, width)))
  return tuple(maps)


def pyramid(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[FeatureMap, ...]:
  """Returns the deepest map of each stride, from the finest to the coarsest.

  Takes the arguments of `feature_maps` and raises the same errors.
  """
  return deepest(feature_maps(model, image_shape))


def deepest(maps: Sequence[FeatureMap]) -> tuple[FeatureMap, ...]:
  """Returns the last map of each stride, from the finest to the coarsest."""
  last = {found.stride: found for found in maps}
  return tuple(last[stride] for stride in sorted(last))


def create_encoder(name: str, **options: OptionValue) -> nn.Module:
  """Returns a classifier of the zoo without what follows its last map.

  It returns that map in place of the logits, and the same `feats` up to there. It has the parameters
  that these need and no others.

  Raises:
    ConfigError: an unknown model or option, or a model that is no classifier.
  """
  require_output(name, "classification")
  return create_model(name, **options).clone(num_classes=0)


def _map_shapes(
  model: nn.Module, image_shape: tuple[int, int, int]
) -> dict[str, tuple[int, int, int]]:
  """Returns (height, width, channels) of the maps before the classifier, in order of depth."""
  shapes: dict[str, tuple[int, int, int]] = {}

  # The order of `feats` is lost in what `eval_shape` returns, so it is recorded while tracing.
  def record(images: jax.Array) -> None:
    (_, feats), _ = model.init_with_output(jax.random.key(0), images, train=False)
    for name, value in feats.items():
      if name == "pre_logits":
        return
      if getattr(value, "ndim", 0) == 4:
        shapes[name] = value.shape[1:]

  jax.eval_shape(record, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return shapes


def _grown(
  model: nn.Module, image_shape: tuple[int, int, int]
) -> tuple[int, dict[str, tuple[int, int, int]]]:
  """Returns how many pixels were added to both sides of the image, and the maps' shapes then."""
  height, width, channels = image_shape
  for growth in _GROWTHS[:-1]:
    try:
      return growth, _map_shapes(model, (height + growth, width + growth, channels))
    except ShapeError:
      # The larger size is not divisible as the network requires; the next one may be.
      continue
  growth = _GROWTHS[-1]
  return growth, _map_shapes(model, (height + growth, width + growth, channels))
