"""Images that are changed until a network responds more: DeepDream, and models of classes.

DeepDream: A. Mordvintsev, C. Olah, M. Tyka, "Inceptionism" (Google Research blog, 2015), with the
constants of the program published there. Models of classes: arXiv:1312.6034, section 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError
from cnnlab.inspect.network import PixelNetwork, apply, stride_of

LEVELS = 255.0
GRAY = 127.5


@dataclasses.dataclass(frozen=True)
class Dream:
  """How DeepDream climbs.

  Attributes:
    octaves: sizes of the image, the smallest first.
    octave_scale: ratio of neighboring sizes.
    steps: at each size.
    step_size: mean change of a pixel in a step, in levels of 0 to 255.
    jitter: the image is shifted by up to as many pixels before each step, so that no pixel stays at
      the same place of the strides' grid.
    seed: of the shifts.
  """

  octaves: int = 4
  octave_scale: float = 1.4
  steps: int = 10
  step_size: float = 1.5
  jitter: int = 32
  seed: int = 0

  def __post_init__(self) -> None:
    if self.octaves < 1 or self.steps < 1 or self.octave_scale <= 1 or self.jitter < 0:
      raise ConfigError(
        f"octaves {self.octaves}, octave_scale {self.octave_scale}, steps {self.steps} and jitter "
        f"{self.jitter}; allowed: 1 and more, over 1, 1 and more, 0 and more"
      )


class Dreamt(NamedTuple):
  """What DeepDream made.

  Attributes:
    image: float32 [height, width, channels] in levels of 0 to 255.
    table: `octave`, `step` and the `objective` before it, for each step.
  """

  image: np.ndarray
  table: pd.DataFrame


def deep_dream(
  network: PixelNetwork,
  image: ArrayLike,
  layer: str,
  channels: Sequence[int] | None = None,
  settings: Dream = Dream(),
) -> Dreamt:
  """Returns an image in which a layer responds more: what it sees a little of, it sees more of.

  The objective is the mean of the squared positive responses; gradients are divided by their mean size.
  What the steps at one size have added is enlarged and kept for the next.

  Args:
    network: see `PixelNetwork.of`.
    image: [height, width, channels] in levels of 0 to 255.
    layer: of `cnnlab.inspect.network.layer_outputs`.
    channels: of the layer; all by default.
    settings: see `Dream`.

  Raises:
    ConfigError: there is no such layer or channel.
    ShapeError: the smallest octave is too small for the network.
  """
  whole = jnp.asarray(image, jnp.float32)
  chosen = None if channels is None else np.asarray(channels)
  climb = network.compiled(jax.value_and_grad(_response(layer, chosen), argnums=1))
  sizes = _sizes(network, whole.shape, settings)
  for size in (sizes[0], sizes[-1]):  # the network may not take them
    _require_channels(network, (*size, whole.shape[2]), layer, chosen)
  key = jax.random.key(settings.seed)
  rows, added = [], jnp.zeros((*sizes[0], whole.shape[2]))
  for octave, size in enumerate(sizes):
    base = _resized(whole, size)
    current = jnp.clip(base + _resized(added, size), 0, LEVELS)
    for step in range(settings.steps):
      key, own = jax.random.split(key)
      current, value = _step(climb, current, own, settings)
      rows.append((octave, step, float(value)))
    added = current - base
  return Dreamt(np.asarray(current), pd.DataFrame(rows, columns=["octave", "step", "objective"]))


def _sizes(network: PixelNetwork, shape: tuple[int, ...], settings: Dream) -> list[tuple[int, int]]:
  """Returns heights and widths, the smallest first; multiples of the stride but for the last."""
  strides = stride_of(network, shape)
  sizes = [(shape[0], shape[1])]
  for k in range(1, settings.octaves):
    scale = settings.octave_scale**k
    height, width = (
      max(stride, round(side / scale / stride) * stride)
      for side, stride in zip(shape[:2], strides, strict=True)
    )
    sizes.insert(0, (height, width))
  return sizes


def _response(layer: str, channels: np.ndarray | None) -> Callable[[PixelNetwork, Array], Array]:
  def objective(network: PixelNetwork, image: Array) -> Array:
    found = network.layers(image[None], [layer])[0].astype(jnp.float32)
    found = found if channels is None else found[..., channels]
    return jnp.square(jax.nn.relu(found)).mean()

  return objective


def _require_channels(
  network: PixelNetwork, shape: tuple[int, ...], layer: str, channels: np.ndarray | None
) -> None:
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  found = jax.eval_shape(lambda x: network.layers(x, [layer])[0], image).shape[-1]
  if channels is not None and (not len(channels) or min(channels) < 0 or max(channels) >= found):
    raise ConfigError(f"channels are {channels}; allowed: of map {layer!r}, from 0 to {found - 1}")


def _step(
  climb: Callable[[Array], tuple[Array, Array]], image: Array, key: Array, settings: Dream
) -> tuple[Array, Array]:
  shift = jax.random.randint(key, (2,), -settings.jitter, settings.jitter + 1)
  value, slope = climb(jnp.roll(image, shift, axis=(0, 1)))
  slope = jnp.roll(slope, -shift, axis=(0, 1))
  size = jnp.maximum(jnp.abs(slope).mean(), jnp.finfo(jnp.float32).tiny)
  return jnp.clip(image + settings.step_size * slope / size, 0, LEVELS), value


def _resized(image: Array, size: tuple[int, ...]) -> Array:
  return jax.image.resize(image, (*size, image.shape[2]), "bilinear")


def total_variation(image: Array) -> Array:
  """Returns the summed squared differences of neighboring pixels along both axes of [..., h, w, c]."""
  return jnp.square(jnp.diff(image, axis=-3)).sum() + jnp.square(jnp.diff(image, axis=-2)).sum()


@dataclasses.dataclass(frozen=True)
class ClassModel:
  """How the image of a class is found.

  Attributes:
    steps: of Adam.
    step_size: in levels of 0 to 255.
    penalty: weight of the squared distance to gray in units of half the range, averaged over values.
    variation: weight of `total_variation` in the same units, divided by the number of values.
    jitter: see `Dream`.
    seed: of the shifts.
  """

  steps: int = 200
  step_size: float = 4.0
  penalty: float = 10.0
  variation: float = 0.0
  jitter: int = 0
  seed: int = 0


def class_model(
  network: PixelNetwork,
  image_shape: tuple[int, int, int],
  classes: Sequence[int],
  settings: ClassModel = ClassModel(),
) -> np.ndarray:
  """Returns images that a classifier takes for a class, float32 [classes, height, width, channels].

  From gray, Adam climbs the logit less the penalties; pixels stay within 0 to 255.

  Args:
    network: a classifier, see `PixelNetwork.of`.
    image_shape: (height, width, channels) of an image that it takes.
    classes: one for each image.
    settings: see `ClassModel`.

  Raises:
    ConfigError: the network is no classifier, or has no such class.
  """
  chosen, count = jnp.asarray(classes), len(classes)
  gray = jnp.full((count, *image_shape), GRAY)

  def objective(network: PixelNetwork, images: Array) -> Array:
    out = apply(network.model, network.variables, network.to_inputs(images))[0]
    if getattr(out, "ndim", 0) != 2:
      raise ConfigError(f"{type(network.model).__name__} is no classifier, which class models need")
    if not count or min(classes) < 0 or max(classes) >= out.shape[1]:
      raise ConfigError(f"classes are {list(classes)}; allowed: from 0 to {out.shape[1] - 1}")
    logits = jnp.take_along_axis(out.astype(jnp.float32), chosen[:, None], axis=1).sum()
    scaled = (images - GRAY) / GRAY
    rough = settings.penalty * jnp.square(scaled).sum() + settings.variation * total_variation(
      scaled
    )
    return logits - rough / gray[0].size

  optimizer = optax.adam(optax.cosine_decay_schedule(settings.step_size, settings.steps))
  state = optimizer.init(gray)
  slope_of = network.compiled(jax.grad(objective, argnums=1))
  found, key = gray, jax.random.key(settings.seed)
  for _ in range(settings.steps):
    key, own = jax.random.split(key)
    shift = jax.random.randint(own, (2,), -settings.jitter, settings.jitter + 1)
    slope = jnp.roll(slope_of(jnp.roll(found, shift, axis=(1, 2))), -shift, axis=(1, 2))
    updates, state = optimizer.update(-slope, state)
    found = jnp.clip(optax.apply_updates(found, updates), 0, LEVELS)
  return np.asarray(found)
