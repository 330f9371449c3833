"""Pooling over windows: maximum and average, overlapping or not, and over the whole image.

XLA's gradient of a windowed maximum (select-and-scatter) takes 27 times its forward pass on a
CPU; here the maximum is taken over strided views of the image instead, and its gradient is a sum
of masked views.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.nn import geometry
from cnnlab.nn.conv import require_images

_Axes = tuple[geometry.Axis, geometry.Axis]


def max_pool(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] | None = None,
  padding: geometry.Padding = 0,
  fit: str = "exact",
) -> jax.Array:
  """Takes the maximum of each window; padding counts as minus infinity.

  The gradient goes to the first maximum of a window in reading order, as in PyTorch; NaN wins.

  Args:
    x: [batch, height, width, channels], floating point.
    window: size, one int or (height, width).
    stride: step; default: the window, without overlap. (3, 2) is AlexNet's overlapping form.
    padding: see `geometry.padding_pairs`.
    fit: 'exact' raises ShapeError if the windows do not fit, 'crop' leaves out the last pixels,
      'pad' pads the end (PyTorch's ceil_mode).

  Returns:
    [batch, out height, out width, channels].
  """
  x, windows, strides, axes = _prepare(x, window, stride, padding, fit, "max_pool")
  padded = _pad(x, axes, -jnp.inf)
  return _maximum(padded, windows, strides)


def avg_pool(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] | None = None,
  padding: geometry.Padding = 0,
  fit: str = "exact",
  count_padding: bool = False,
) -> jax.Array:
  """Averages each window.

  Args:
    x: [batch, height, width, channels].
    window: size, one int or (height, width).
    stride: step; default: the window.
    padding: see `geometry.padding_pairs`.
    fit: as in `max_pool`.
    count_padding: divide by the window's size everywhere (PyTorch's default) instead of by the
      number of its pixels that lie in the image.

  Returns:
    [batch, out height, out width, channels].
  """
  x, windows, strides, axes = _prepare(x, window, stride, padding, fit, "avg_pool")
  summed = _window_sum(_pad(x, axes, 0.0), windows, strides)
  if count_padding or all(axis.low <= 0 and axis.high <= 0 for axis in axes):
    return summed / (windows[0] * windows[1])
  ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
  return summed / _window_sum(_pad(ones, axes, 0.0), windows, strides)


def global_avg_pool(x: jax.Array) -> jax.Array:
  """Averages [batch, height, width, channels] over the image to [batch, channels]."""
  return jnp.mean(x, axis=(1, 2))


def global_max_pool(x: jax.Array) -> jax.Array:
  """Takes the maximum of [batch, height, width, channels] over the image to [batch, channels]."""
  return jnp.max(x, axis=(1, 2))


def _prepare(
  x: jax.Array, window: Any, stride: Any, padding: geometry.Padding, fit: str, what: str
) -> tuple[jax.Array, geometry.Pair, geometry.Pair, _Axes]:
  require_images(x, what)
  windows = geometry.pair(window, "window")
  strides = windows if stride is None else geometry.pair(stride, "stride")
  axes = geometry.fit_image(x.shape[1:3], windows, strides, padding, 1, fit, what)
  return x, windows, strides, axes


def _pad(x: jax.Array, axes: _Axes, value: float) -> jax.Array:
  if not any(axis.low or axis.high for axis in axes):
    return x
  edges = [(0, 0, 0), *((axis.low, axis.high, 0) for axis in axes), (0, 0, 0)]
  return lax.pad(x, jnp.asarray(value, x.dtype), edges)


def _views(x: jax.Array, windows: geometry.Pair, strides: geometry.Pair) -> list[jax.Array]:
  """Returns, for each place in the window in reading order, that pixel of every window."""
  batch, height, width, channels = x.shape
  rows = (height - windows[0]) // strides[0] + 1
  columns = (width - windows[1]) // strides[1] + 1
  return [
    lax.slice(
      x,
      (0, i, j, 0),
      (batch, i + (rows - 1) * strides[0] + 1, j + (columns - 1) * strides[1] + 1, channels),
      (1, strides[0], strides[1], 1),
    )
    for i in range(windows[0])
    for j in range(windows[1])
  ]


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _maximum(x: jax.Array, windows: geometry.Pair, strides: geometry.Pair) -> jax.Array:
  return lax.reduce_window(
    x, jnp.asarray(-jnp.inf, x.dtype), lax.max, (1, *windows, 1), (1, *strides, 1), "VALID"
  )


@_maximum.defjvp
def _maximum_jvp(
  windows: geometry.Pair, strides: geometry.Pair, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
  best, index = first_maximum(primals[0], windows, strides)
  # One byte an output pixel is all that the backward pass keeps.
  places = _views(tangents[0], windows, strides)
  zero = jnp.zeros((), best.dtype)
  tangent = zero
  for k, place in enumerate(places):
    tangent += jnp.where(index == k, place, zero)
  return best, tangent


def first_maximum(
  x: jax.Array, windows: geometry.Pair, strides: geometry.Pair
) -> tuple[jax.Array, jax.Array]:
  """Returns each window's maximum and its place in the window, counted in reading order.

  Args:
    x: [batch, height, width, channels], already padded so that the windows fit.
    windows: (height, width) of the window.
    strides: (height, width) of the step.

  Returns:
    Two arrays [batch, out height, out width, channels]; the place is uint8, or int32 for windows
    of more than 256 pixels.
  """
  places = _views(x, windows, strides)
  kind = jnp.uint8 if len(places) <= 256 else jnp.int32
  best, index = places[0], jnp.zeros(places[0].shape, kind)
  for k, place in enumerate(places[1:], 1):
    better = (place > best) | (place != place)
    best = jnp.where(better, place, best)
    index = jnp.where(better, jnp.asarray(k, kind), index)
  return best, index


def _window_sum(x: jax.Array, windows: geometry.Pair, strides: geometry.Pair) -> jax.Array:
  if windows == strides:
    batch, height, width, channels = x.shape
    blocks = (batch, height // windows[0], windows[0], width // windows[1], windows[1], channels)
    return x.reshape(blocks).sum((2, 4))
  return lax.reduce_window(
    x, jnp.zeros((), x.dtype), lax.add, (1, *windows, 1), (1, *strides, 1), "VALID"
  )
