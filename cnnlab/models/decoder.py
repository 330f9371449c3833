"""What the segmentation networks share: an encoder of the zoo and scores for every pixel.

    net = create_model("fcn8s_resnet18", num_classes=12)
    logits, feats = net.apply(variables, images, train=False)  # [batch, height, width, 12]

A name is a decoder's and a classifier's, `unet_resnet34`; the options are those of both. The
classifier is built without its head. Norm, activation and dtype of the decoder are the encoder's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, TypeVar

import jax
from flax import linen as nn

from cnnlab.annotations import fit
from cnnlab.models.encoder import FeatureMap, create_encoder, feature_maps
from cnnlab.models.ranges import Classes
from cnnlab.models.registry import options_of
from cnnlab.nn.init import Initializer, classifier_normal
from cnnlab.nn.layers import ACTIVATIONS, Layers, make_layers
from cnnlab.nn.resize import resize
from cnnlab.nn.types import Layer
from cnnlab.types import Options

Upsampling = Literal["transposed", "bilinear"]
Maps = dict[str, jax.Array]
Net = TypeVar("Net", bound=nn.Module)

VOC_CLASSES = 21


def score(
  layers: Layers, num_classes: int, name: str, kernel_init: Initializer | None = None
) -> Layer:
  """Returns a 1x1 convolution to class scores, with weights from N(0, 0.01²) by default."""
  start = kernel_init or classifier_normal()
  return layers.conv(num_classes, 1, use_bias=True, kernel_init=start, name=name)


class ConvHead(nn.Module):
  """A 3x3 convolution, norm, activation, dropout, and a 1x1 convolution to scores.

  Maps [batch, height, width, channels] to [batch, height, width, num_classes] (FCN's head in
  torchvision; arXiv:1612.01105, figure 3).

  Attributes:
    layers: conv, norm and act.
    features: channels of the 3x3 convolution.
    num_classes: number of classes.
    dropout: dropout rate before the scores.
  """

  layers: Layers
  features: int
  num_classes: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns the scores."""
    x = self.layers.conv(self.features, 3, padding=1, name="conv")(x)
    x = self.layers.act(self.layers.norm(name="norm")(x))
    x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
    return score(self.layers, self.num_classes, "head")(x)


class SegmentationNet(nn.Module):
  """An encoder and a decoder, which each architecture adds as `scores`.

  Attributes:
    encoder: a network without classifier, see `create_encoder`.
    num_classes: number of classes.
    auxiliary: add a head on the map before the last, whose logits are in
      `feats['auxiliary_logits']` (arXiv:1612.01105, section 3.3).
  """

  encoder: nn.Module
  num_classes: Classes = VOC_CLASSES
  auxiliary: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, *, train: bool
  ) -> tuple[jax.Array, dict[str, jax.Array | tuple[jax.Array, ...]]]:
    """Returns logits [batch, height, width, num_classes] of the image's size, and the encoder's maps.

    They are bilinearly interpolated from the scores, in float32.
    """
    size = x.shape[1:3]
    maps = measured_maps(self.encoder.clone(parent=None, name=None), x.shape[1:])
    layers = encoder_layers(self.encoder, train=train)
    _, feats = self.encoder(x, train=train)
    found = dict(feats)
    if self.auxiliary:
      x = feats[maps[-2:][0].name]
      head = ConvHead(layers, max(1, x.shape[3] // 4), self.num_classes, 0.1, name="auxiliary")
      found["auxiliary_logits"] = (resize(head(x, train=train).astype("float32"), size),)
    scores = self.scores(maps, feats, layers, train)
    return resize(scores.astype("float32"), size), found

  def scores(
    self, maps: Sequence[FeatureMap], feats: Maps, layers: Layers, train: bool
  ) -> jax.Array:
    """Returns class scores [batch, rows, columns, num_classes] of any size.

    Args:
      maps: the encoder's maps, from the finest to the coarsest.
      feats: their values by name.
      layers: the encoder's norm, activation and dtype.
      train: whether to train.
    """
    raise NotImplementedError


# A deep encoder takes seconds to measure, and a run traces its network several times.
measured_maps = lru_cache(maxsize=100)(feature_maps)


def encoder_layers(encoder: nn.Module, *, train: bool) -> Layers:
  """Returns layers with norm, activation and dtype of the encoder, where it has such options."""
  names = [name for name in ("norm", "act", "dtype") if hasattr(encoder, name)]
  chosen = {name: getattr(encoder, name) for name in names}
  if chosen.get("act") not in ACTIVATIONS:  # LeNet's own
    chosen.pop("act", None)
  return make_layers(**chosen, train=train)


def fitted(x: jax.Array, size: Sequence[int], factor: int) -> jax.Array:
  """Returns a map that was upsampled by `factor` in the size of the finer map that it is to meet.

  What a padded reduction added at the end is cropped, so that pixels stay where they are. Other
  differences, of encoders that crop, are interpolated.
  """
  if all(0 <= have - want < factor for have, want in zip(x.shape[1:3], size, strict=True)):
    return x[:, : size[0], : size[1]]
  return resize(x, size)


def around(
  net: type[Net], encoder: str | Callable[..., nn.Module], defaults: Options, options: Options
) -> Net:
  """Returns `net` around an encoder.

  Args:
    net: class of the network.
    encoder: name of a classifier, or a function of its options that returns an encoder.
    defaults: of both; the encoder gets those that it has and allows.
    options: of both; those that are no fields of the net are the encoder's.
  """
  make = partial(create_encoder, encoder) if isinstance(encoder, str) else encoder
  own = {field.name for field in dataclasses.fields(net)}
  known = options_of(make())
  chosen = {
    key: value
    for key, value in defaults.items()
    if key in own or (key in known and fit(value, known[key].type)[1])
  } | options
  inner = {key: value for key, value in chosen.items() if key not in own}
  outer = {key: value for key, value in chosen.items() if key in own}
  return net(encoder=make(**inner), **outer)


def split_name(name: str, decoders: Mapping[str, Options]) -> tuple[str, str]:
  """Returns ('unet', 'resnet34') of 'unet_resnet34', for the longest decoder that it begins with."""
  decoder = max((d for d in decoders if name.startswith(f"{d}_")), key=len)
  return decoder, name.removeprefix(f"{decoder}_")
