"""Random fields as Flax modules that refine a network's scores, with fixed or learned constants.

    crf = create_crf("fully_connected", color_width=0.3)
    refined = crf.apply({}, logits, images)

Learned constants are `value * exp(parameter)` and start with parameter 0: they stay positive, and
weight decay pulls them to where they started.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.annotations import Count, NonNegative, Positive, ProperFraction, Whole
from cnnlab.calls import read_call
from cnnlab.crf.cells import approximate
from cnnlab.crf.gaussian import appearance_features, exact, normalized, smoothness
from cnnlab.crf.grid import grid_messages
from cnnlab.crf.mean_field import Messages, mean_field, potts
from cnnlab.errors import ConfigError, ShapeError, shown, unknown
from cnnlab.settings import bind

Constants = dict[str, jax.Array | float]
Learned: TypeAlias = Literal["nothing", "kernels", "all"]


class Crf(nn.Module):
  """What the fields have in common.

  Class attributes:
    constants: names of the fields that may be learned, weights and widths of the kernels.

  Attributes:
    learned: 'kernels' makes the constants parameters, 'all' also the compatibility of labels, which
      else is that of Potts's model, 1 for every pair of different ones.
    iterations: updates of mean field.
    damping: share of the old log marginals that an update keeps.
  """

  constants: ClassVar[tuple[str, ...]]

  learned: Learned = "nothing"
  iterations: Count = 10
  damping: ProperFraction = 0.0

  @nn.compact
  def __call__(self, logits: jax.Array, images: jax.Array) -> jax.Array:
    """Returns refined scores: log marginals [batch, height, width, classes], float32.

    Args:
      logits: [batch, height, width, classes].
      images: [batch, height, width, channels].

    Raises:
      ShapeError: logits and images differ in size.
    """
    if logits.shape[:3] != images.shape[:3]:
      raise ShapeError(f"crf: logits {logits.shape} and images {images.shape} differ in size")
    zeros = nn.initializers.zeros
    constants: Constants = {name: getattr(self, name) for name in self.constants}
    if self.learned != "nothing":
      constants = {k: v * jnp.exp(self.param(k, zeros, ())) for k, v in constants.items()}
    compatibility = potts(logits.shape[-1])
    if self.learned == "all":
      change = self.param("compatibility", zeros, compatibility.shape)
      compatibility += (change + change.T) / 2

    def refine(example: tuple[jax.Array, jax.Array]) -> jax.Array:
      scores, image = example
      messages = self.messages(image, constants)
      return mean_field(scores, messages, compatibility, self.iterations, self.damping)

    # One image after another, since the blocks of one are as large as they should be.
    return jax.lax.map(refine, (logits.astype(jnp.float32), images.astype(jnp.float32)))

  def messages(self, image: jax.Array, constants: Constants) -> Messages:
    """Returns the messages for an image [height, width, channels]."""
    raise NotImplementedError


class GridCrf(Crf):
  """Neighboring pixels agree, less so across a contrast; see `cnnlab.crf.grid`.

  Attributes:
    neighbors: 4 or 8.
    weight: of every pair of neighbors.
    contrast: added weight of neighbors of the same color.
    color_width: in units of the images.
  """

  constants: ClassVar[tuple[str, ...]] = ("weight", "contrast", "color_width")

  damping: ProperFraction = 0.5  # without, checkered patterns may alternate for ever
  neighbors: Literal[4, 8] = 8
  weight: NonNegative = 0.2
  contrast: NonNegative = 0.8
  color_width: Positive = 0.2

  def messages(self, image: jax.Array, constants: Constants) -> Messages:
    """Returns the messages for an image [height, width, channels]."""
    return grid_messages(image, self.neighbors, **constants)


class FullyConnectedCrf(Crf):
  """All pixels that are near or alike agree (arXiv:1210.5644); see `cnnlab.crf.gaussian`.

  Attributes:
    appearance: weight of the kernel of positions and colors.
    position_width: its width in pixels.
    color_width: its width in units of the images.
    smoothness: weight of the kernel of positions alone.
    smoothness_width: its width in pixels.
    cells: for the approximation of larger images, see `cnnlab.crf.cells`; 0 computes all exactly.
  """

  constants: ClassVar[tuple[str, ...]] = (
    "appearance",
    "position_width",
    "color_width",
    "smoothness",
    "smoothness_width",
  )

  appearance: NonNegative = 10.0
  position_width: Positive = 80.0
  color_width: Positive = 0.2
  smoothness: NonNegative = 3.0
  smoothness_width: Positive = 3.0
  cells: Whole = 1024

  def messages(self, image: jax.Array, constants: Constants) -> Messages:
    """Returns the messages for an image [height, width, channels]."""
    size = image.shape[0], image.shape[1]
    features = appearance_features(image, constants["position_width"], constants["color_width"])
    alike = approximate(features, self.cells) if self.cells else exact(features)
    alike = normalized(alike, size)
    near = normalized(smoothness(size, constants["smoothness_width"]), size)
    return lambda values: (
      constants["appearance"] * alike(values) + constants["smoothness"] * near(values)
    )


CRFS: dict[str, type[Crf]] = {"grid": GridCrf, "fully_connected": FullyConnectedCrf}


def read_crf(text: str, key: str) -> Crf:
  """Returns the field that a text such as "grid" or "fully_connected(color_width=0.3)" spells.

  Args:
    text: a name, and the options that differ from their defaults.
    key: the config key, for messages.

  Raises:
    ConfigError: not of this form, or what `create_crf` refuses.
  """
  try:
    name, options = read_call(text)
  except ValueError as error:
    raise ConfigError(f"config key {key!r}: cannot read {shown(text)}; {error}") from error
  return create_crf(name, **options)


def create_crf(name: str, **options: Any) -> Crf:
  """Returns a field.

  Args:
    name: 'grid' or 'fully_connected'.
    **options: fields of `GridCrf` or `FullyConnectedCrf`.

  Raises:
    ConfigError: an unknown field or option, or a value that does not fit.
  """
  if name not in CRFS:
    raise ConfigError(unknown("crf", name, CRFS))
  known = {field.name for field in dataclasses.fields(CRFS[name])} - {"parent", "name"}
  for key in options:
    if key not in known:
      raise ConfigError(unknown(f"option of crf {name!r}", key, known))
  return bind(CRFS[name], options, f"crf {name}")
