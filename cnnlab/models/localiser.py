"""Two heads on one trunk: the class of an object, and its box (CS231n, "Localization as regression").

    net = localiser("resnet18", num_classes=10)
    (logits, offsets), feats = net.apply(variables, images, train=False)

The trunk is a classifier of the zoo without its head. Its last map is flattened, since an average over
positions would not tell where something is.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.models.decoder import Maps, around, encoder_layers
from cnnlab.models.ranges import Channels, Classes
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.types import OptionValue


class Localised(NamedTuple):
  """What a localiser computes.

  Attributes:
    logits: of the classes, float32 [batch, classes].
    offsets: of the box from the whole image, float32 [batch, 4]; see `cnnlab.boxes.encode`.
  """

  logits: jax.Array
  offsets: jax.Array


class Localiser(nn.Module):
  """A trunk with a head for the class and one for the box, each of two fully connected layers.

  Attributes:
    encoder: a network without classifier, see `create_encoder`.
    num_classes: number of classes.
    hidden: outputs of each head's first layer.
  """

  encoder: nn.Module
  num_classes: Classes
  hidden: Channels = 256

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[Localised, Maps]:
    """Returns logits and offsets, and the trunk's maps."""
    layers = encoder_layers(self.encoder, train=train)
    last, feats = self.encoder(x, train=train)
    flat = last.reshape(last.shape[0], -1)

    def head(outputs: int, start: nn.initializers.Initializer, name: str) -> jax.Array:
      inner = layers.dense(self.hidden, kernel_init=kaiming_fan_in(), name=f"{name}_hidden")
      outer = layers.dense(outputs, kernel_init=start, name=name)
      return outer(layers.act(inner(flat))).astype(jnp.float32)

    logits = head(self.num_classes, classifier_normal(), "head")
    return Localised(logits, head(4, classifier_normal(0.001), "box_head")), feats


def localiser(trunk: str, num_classes: int, **options: OptionValue) -> Localiser:
  """Returns a localiser around a classifier of the zoo.

  Args:
    trunk: name of the classifier.
    num_classes: number of classes.
    options: of the classifier, and `hidden`.

  Raises:
    ConfigError: an unknown model or option.
  """
  return around(Localiser, trunk, {}, {"num_classes": num_classes, **options})
