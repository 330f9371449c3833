"""What the units of a layer respond to most in a set of images.

A unit of the first convolution is a matched filter: its response is the inner product of its weights
and the patch under them, so that the patches that excite it most look like its weights. What the units
of deeper layers match is seen in their patches alone (arXiv:1311.2901, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError, DataError
from cnnlab.inspect.fields import Fields
from cnnlab.inspect.network import AnyNetwork, layer_outputs
from cnnlab.inspect.trace import receptive_fields


class Box(NamedTuple):
  """The pixels that a unit sees, from `top` and `left` up to `bottom` and `right`, which are not in it.

  In the padding, coordinates are outside the image.
  """

  top: int
  left: int
  bottom: int
  right: int


class Responses(NamedTuple):
  """The strongest responses of each channel of a layer, the strongest first.

  Attributes:
    layer: its name.
    values: float32 [channels, count]; -inf where there are fewer.
    images: number of the image, int [channels, count].
    places: row and column in the map, int [channels, count, 2].
    mean: over all places of all images, float32 [channels].
    fields: the receptive fields of the map.
  """

  layer: str
  values: np.ndarray
  images: np.ndarray
  places: np.ndarray
  mean: np.ndarray
  fields: Fields

  def box(self, channel: int, rank: int) -> Box:
    """Returns the receptive field of a response."""
    top, left = (
      field.start + (0 if field.fixed else field.steps[axis] * int(place))
      for field, axis, place in zip(self.fields, (1, 2), self.places[channel, rank], strict=True)
    )
    return Box(top, left, top + self.fields[0].size, left + self.fields[1].size)

  def most_selective(self, count: int) -> np.ndarray:
    """Returns the channels whose strongest responses are largest beside their mean one."""
    peak = self.values.mean(axis=1)
    ratio = np.where(peak > 0, peak / np.maximum(np.abs(self.mean), 1e-6), 0)
    return np.argsort(-ratio, kind="stable")[:count]


def fields_of(network: AnyNetwork, image_shape: tuple[int, int, int], layer: str) -> Fields:
  """Returns the receptive fields of a map.

  Args:
    network: any.
    image_shape: (height, width, channels) of an input.
    layer: of `cnnlab.inspect.network.layer_outputs`.

  Raises:
    ConfigError: there is no such map, or it does not depend on the image.
  """

  def forward(inputs: Array) -> Array:
    return layer_outputs(network.model, network.variables, inputs, [layer])[0]

  found: Fields | None = receptive_fields(forward, image_shape)
  if found is None:
    raise ConfigError(f"map {layer!r} does not depend on the image")
  return found


def strongest(
  network: AnyNetwork,
  inputs: Iterable[ArrayLike],
  layer: str,
  *,
  count: int = 9,
  per_image: int = 1,
) -> Responses:
  """Returns the strongest responses of every channel of a layer to a set of images.

  Args:
    network: any.
    inputs: batches, as the network takes them, float32 [batch, height, width, channels].
    layer: of `cnnlab.inspect.network.layer_outputs`.
    count: responses of each channel.
    per_image: how many of them one image may have; their fields are at least half a field apart
      along one of the axes.

  Raises:
    ConfigError: there is no such map, or a number is below one.
    DataError: there is no image.
  """
  if count < 1 or per_image < 1:
    raise ConfigError(f"count is {count} and per_image {per_image}; allowed: 1 and more")
  kept: list[np.ndarray] = []
  fields: Fields | None = None
  total, seen, images = np.zeros(()), 0, 0
  for batch in inputs:
    array = jnp.asarray(batch, jnp.float32)
    if fields is None:
      height, width, channels = array.shape[1:]
      fields = fields_of(network, (height, width, channels), layer)
    apart = tuple(
      1 if f.fixed or not f.steps[a] else max(1, f.size // (2 * abs(f.steps[a])))
      for f, a in zip(fields, (1, 2), strict=True)
    )
    found = _peaks(network.model, network.variables, array, layer, per_image, apart)
    values, rows, columns, mean = map(np.asarray, found)
    numbers = np.broadcast_to(np.arange(len(array))[:, None] + images, values.shape[1:])
    new = np.stack([values, *np.broadcast_arrays(numbers, rows, columns)], axis=-1)
    kept = [np.concatenate([*kept, new.reshape(-1, *new.shape[2:])])]  # [candidates, channels, 4]
    order = np.argsort(-kept[0][..., 0], axis=0, kind="stable")[:count]
    kept = [np.take_along_axis(kept[0], order[..., None], axis=0)]
    total, seen, images = total + len(array) * mean, seen + len(array), images + len(array)
  if fields is None:
    raise DataError("no image is given; allowed: one or more")
  best = kept[0].swapaxes(0, 1)
  return Responses(
    layer,
    best[..., 0].astype(np.float32),
    best[..., 1].astype(np.int64),
    best[..., 2:].astype(np.int64),
    (total / seen).astype(np.float32),
    fields,
  )


@partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _peaks(
  model: nn.Module,
  variables: VariableDict,
  inputs: Array,
  layer: str,
  per_image: int,
  apart: tuple[int, ...],
) -> tuple[Array, Array, Array, Array]:
  """Returns values, rows and columns of peaks, [per_image, batch, channels], and each channel's mean."""
  found = layer_outputs(model, variables, inputs, [layer])[0].astype(jnp.float32)
  batch, height, width, channels = found.shape
  flat = found.reshape(batch, height * width, channels)
  rows, columns = jnp.divmod(jnp.arange(height * width)[None, :, None], width)
  peaks = []
  for _ in range(per_image):
    best = flat.argmax(axis=1, keepdims=True)
    row, column = jnp.divmod(best, width)
    peaks.append((jnp.take_along_axis(flat, best, axis=1)[:, 0], row[:, 0], column[:, 0]))
    near = (jnp.abs(rows - row) < apart[0]) & (jnp.abs(columns - column) < apart[1])
    flat = jnp.where(near, -jnp.inf, flat)
  values, tops, lefts = (jnp.stack(each) for each in zip(*peaks, strict=True))
  return values, tops, lefts, found.mean(axis=(0, 1, 2))
