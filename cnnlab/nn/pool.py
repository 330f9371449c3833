"""Pooling over windows: maximum and average, overlapping or not, and over the whole image.

On a CPU, XLA's gradient of a windowed maximum (select-and-scatter) takes 27 times as long as its
forward pass. Here the maximum is taken over strided views of the image instead, and its gradient
is a sum of masked views, which takes a fifth of the time for ResNet's 3x3 pooling.

The poolings are functions, not modules; their named scopes make them visible in layer tables and
profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from cnnlab.errors import ConfigError, ShapeError, unknown
from cnnlab.nn import geometry
from cnnlab.nn.conv import require_images

# In larger windows (in pixels), compiling a view per pixel takes longer than it saves.
LARGEST_UNROLLED = 64


@jax.named_scope("max_pool")
def max_pool(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] | None = None,
  padding: geometry.Padding = 0,
  fit: str = "exact",
) -> jax.Array:
  """Takes the maximum of each window; padding counts as minus infinity.

  The gradient goes to the first maximum of a window in row-major order, as in PyTorch. NaNs
  propagate.

  Args:
    x: [batch, height, width, channels], floating point.
    window: size, one int or (height, width).
    stride: step; default: the window, without overlap. AlexNet's overlapping pooling has window 3
      and stride 2.
    padding: see `geometry.padding_pairs`.
    fit: 'exact' raises ShapeError if the windows do not fit, 'crop' omits the last pixels,
      'pad' pads at the end (PyTorch's ceil_mode).

  Returns:
    [batch, out height, out width, channels].
  """
  x, windows, strides, axes = _prepare(x, window, stride, padding, fit, "max_pool")
  padded = geometry.pad_image(x, axes, -jnp.inf)
  if windows[0] * windows[1] > LARGEST_UNROLLED:
    return nn.max_pool(padded, windows, strides)
  return _maximum(padded, windows, strides)


@jax.named_scope("avg_pool")
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
    count_padding: whether to divide by the window's size everywhere (PyTorch's default) instead
      of by the number of its pixels that lie in the image.

  Returns:
    [batch, out height, out width, channels].
  """
  x, windows, strides, axes = _prepare(x, window, stride, padding, fit, "avg_pool")
  summed = _window_sum(geometry.pad_image(x, axes, 0.0), windows, strides)
  if count_padding or all(axis.low <= 0 and axis.high <= 0 for axis in axes):
    return summed / (windows[0] * windows[1])
  ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
  return summed / _window_sum(geometry.pad_image(ones, axes, 0.0), windows, strides)


def max_pool_with_switches(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] | None = None,
  padding: geometry.Padding = 0,
  fit: str = "exact",
) -> tuple[jax.Array, jax.Array]:
  """Max pooling with the position of each maximum (ZFNet's switches, arXiv:1311.2901, 2.1).

  Returns:
    The maxima [batch, out height, out width, channels], and for each the index of its pixel in
    the image, row * width + column, as int32.

  Raises:
    ConfigError: if a window could lie entirely in the padding.
  """
  x, windows, strides, axes = _prepare(x, window, stride, padding, fit, "max_pool_with_switches")
  if any(max(axis.low, axis.high) >= size for axis, size in zip(axes, windows, strict=True)):
    raise ConfigError(f"max_pool_with_switches: padding={padding!r} is not less than {window=}")
  pooled, index = first_maximum(geometry.pad_image(x, axes, -jnp.inf), windows, strides)
  index = index.astype(jnp.int32)
  rows = jnp.arange(pooled.shape[1])[:, None, None] * strides[0] - axes[0].low
  columns = jnp.arange(pooled.shape[2])[:, None] * strides[1] - axes[1].low
  return pooled, (rows + index // windows[1]) * x.shape[2] + columns + index % windows[1]


def max_unpool(
  x: jax.Array,
  switches: jax.Array,
  size: Sequence[int],
  overlap: str = "max",
  window: int | Sequence[int] | None = None,
) -> jax.Array:
  """Places pooled values at the positions of their switches, and zeros elsewhere.

  Args:
    x: [batch, height, width, channels].
    switches: array of the same shape, from `max_pool_with_switches`.
    size: (height, width) of the result, as of the image that was pooled.
    overlap: result where overlapping windows chose the same pixel: 'max' of their values, which
      returns the pooled maxima to their places, or 'sum', the transpose of the pooling.
    window: of the pooling, if its stride was the window and its padding 0: nothing overlaps then,
      and no scatter is needed, which takes six times as long on a CPU.

  Raises:
    ConfigError: for an unknown `overlap`.
    ShapeError: if values and switches differ in shape.
  """
  if overlap not in ("max", "sum"):
    raise ConfigError(unknown("max_unpool's overlap", overlap, ("max", "sum")))
  if x.shape != switches.shape:
    raise ShapeError(f"max_unpool: values {x.shape} and switches {switches.shape} differ in shape")
  batch, channels = x.shape[0], x.shape[3]
  height, width = geometry.pair(size, "size")
  if window is not None:
    rows, columns = geometry.pair(window, "window")
    place = jnp.arange(height)[:, None, None] * width + jnp.arange(width)[:, None]
    spread = [
      jnp.repeat(jnp.repeat(a, rows, axis=1), columns, axis=2)[:, :height, :width]
      for a in (x, switches)
    ]
    return jnp.where(spread[1] == place, spread[0], jnp.zeros((), x.dtype))
  empty = 0.0 if overlap == "sum" else -jnp.inf
  image = jnp.full((batch, height * width, channels), empty, x.dtype)
  examples = jnp.arange(batch)[:, None, None]
  places = switches.reshape(batch, -1, channels), jnp.arange(channels)
  at = image.at[examples, places[0], places[1]]
  values = x.reshape(batch, -1, channels)
  image = at.add(values) if overlap == "sum" else at.max(values)
  image = jnp.where(image == -jnp.inf, jnp.zeros((), x.dtype), image)
  return image.reshape(batch, height, width, channels)


@jax.named_scope("global_avg_pool")
def global_avg_pool(x: jax.Array) -> jax.Array:
  """Averages [batch, height, width, channels] over the image to [batch, channels]."""
  return jnp.mean(x, axis=(1, 2))


@jax.named_scope("global_max_pool")
def global_max_pool(x: jax.Array) -> jax.Array:
  """Takes the maximum of [batch, height, width, channels] over the image to [batch, channels]."""
  return jnp.max(x, axis=(1, 2))


@jax.named_scope("adaptive_avg_pool")
def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
  """Averages [batch, height, width, channels] over `size` x `size` nearly equal regions.

  Region i of an axis of n pixels reaches from floor(i n / size) to ceil((i + 1) n / size), as in
  PyTorch's AdaptiveAvgPool2d; a map of `size` x `size` stays as it is.
  """
  return _adaptive(x, size, jnp.mean)


@jax.named_scope("adaptive_max_pool")
def adaptive_max_pool(x: jax.Array, size: int) -> jax.Array:
  """Takes the maximum in each of the regions of `adaptive_avg_pool`."""
  return _adaptive(x, size, jnp.max)


def _adaptive(x: jax.Array, size: int, reduce: Callable[..., jax.Array]) -> jax.Array:
  require_images(x, "adaptive pooling")
  for axis in (1, 2):
    pixels = x.shape[axis]
    if pixels != size:
      regions = [
        lax.slice_in_dim(x, i * pixels // size, -(-(i + 1) * pixels // size), axis=axis)
        for i in range(size)
      ]
      x = jnp.concatenate([reduce(region, axis, keepdims=True) for region in regions], axis)
  return x


def _prepare(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] | None,
  padding: geometry.Padding,
  fit: str,
  what: str,
) -> tuple[jax.Array, geometry.Pair, geometry.Pair, geometry.Axes]:
  require_images(x, what)
  windows = geometry.pair(window, "window")
  strides = windows if stride is None else geometry.pair(stride, "stride")
  axes = geometry.fit_image(x.shape[1:3], windows, strides, padding, 1, fit, what)
  return x, windows, strides, axes


def window_views(x: jax.Array, windows: geometry.Pair, strides: geometry.Pair) -> list[jax.Array]:
  """Returns, for each position in the window in row-major order, that pixel of every window.

  Args:
    x: [batch, height, width, channels], already padded.
    windows: (height, width) of the window.
    strides: (height, width) of the step.

  Returns:
    One array [batch, out height, out width, channels] per pixel of the window.
  """
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
  return first_maximum(x, windows, strides)[0]


@_maximum.defjvp
def _maximum_jvp(
  windows: geometry.Pair,
  strides: geometry.Pair,
  primals: tuple[jax.Array],
  tangents: tuple[jax.Array],
) -> tuple[jax.Array, jax.Array]:
  best, index = first_maximum(primals[0], windows, strides)

  # Without the checkpoint, the backward pass would keep a mask for each position in the window
  # instead of one byte per output pixel.
  @partial(jax.checkpoint, prevent_cse=False)
  def route(tangent: jax.Array, index: jax.Array) -> jax.Array:
    total = zero = jnp.zeros((), tangent.dtype)
    for k, place in enumerate(window_views(tangent, windows, strides)):
      total += jnp.where(index == k, place, zero)
    return total

  return best, route(tangents[0], index)


@partial(jax.jit, static_argnums=(1, 2), inline=True)
def first_maximum(
  x: jax.Array, windows: geometry.Pair, strides: geometry.Pair
) -> tuple[jax.Array, jax.Array]:
  """Returns each window's maximum and its index in the window, in row-major order.

  Args:
    x: [batch, height, width, channels], already padded so that the windows fit.
    windows: (height, width) of the window.
    strides: (height, width) of the step.

  Returns:
    Two arrays [batch, out height, out width, channels]; the index is uint8, or int32 for windows
    of more than 256 pixels.
  """
  places = window_views(x, windows, strides)
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
  # JAX differentiates a window sum only if its initial value is a constant, which jnp.zeros may
  # not be.
  return lax.reduce_window(
    x, np.zeros((), x.dtype), lax.add, (1, *windows, 1), (1, *strides, 1), "VALID"
  )
