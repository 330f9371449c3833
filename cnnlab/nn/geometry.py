"""Convolution arithmetic: padding, output size (W - F + 2P)/S + 1, and sizes that do not fit.

Sizes are in pixels; an axis is one of height and width. Source: CS231n, "Spatial arrangement", and
Dumoulin & Visin, arXiv:1603.07285.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.errors import ConfigError, ShapeError, unknown

Fit = Literal["exact", "crop", "pad"]
Pair = tuple[int, int]
Padding = int | Sequence[int] | Sequence[Sequence[int]] | str
FITS = ("exact", "crop", "pad")
NAMED_PADDINGS = ("same", "valid")


class Axis(NamedTuple):
  """One axis of a sliding window: output size and the padding before and after that yields it.

  `high` is negative if the last pixels are cropped.
  """

  out: int
  low: int
  high: int


Axes = tuple[Axis, Axis]


def pair(value: int | Sequence[int], field: str = "value", minimum: int = 1) -> Pair:
  """Returns `value` as (height, width); ConfigError unless it is one int or two >= `minimum`."""
  both = tuple(value) if isinstance(value, Sequence) else (value, value)
  whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= minimum for v in both)
  if len(both) != 2 or not whole:
    raise ConfigError(f"{field}: {value!r} is not an int >= {minimum} or a pair of such ints")
  return both[0], both[1]


def padding_pairs(padding: Padding) -> tuple[Pair, Pair] | str:
  """Returns `padding` as ((top, bottom), (left, right)), or 'same' unchanged.

  Args:
    padding: an int, a pair (height, width), ((top, bottom), (left, right)), 'same' or 'valid'.

  Raises:
    ConfigError: for anything else, including negative padding.
  """
  if isinstance(padding, str):
    if padding not in NAMED_PADDINGS:
      raise ConfigError(unknown("padding", padding, NAMED_PADDINGS))
    return "same" if padding == "same" else ((0, 0), (0, 0))
  if isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding):
    if len(padding) != 2:
      raise ConfigError(f"padding: {padding!r} is not ((top, bottom), (left, right))")
    top_bottom, left_right = (pair(p, "padding", 0) for p in padding)  # type: ignore[arg-type]
    return top_bottom, left_right
  vertical, horizontal = pair(padding, "padding", 0)  # type: ignore[arg-type]
  return (vertical, vertical), (horizontal, horizontal)


def fit_axis(
  size: int,
  window: int,
  stride: int = 1,
  padding: Pair | str = (0, 0),
  dilation: int = 1,
  fit: str = "exact",
  what: str = "layer",
) -> Axis:
  """Places a window on one axis.

  Args:
    size: number of input pixels along the axis.
    window: size F of the filter; with dilation d it spans d(F - 1) + 1 pixels.
    stride: step S between windows.
    padding: zeros before and after, or 'same' for an output of ceil(size / stride).
    dilation: distance between the filter's taps.
    fit: if (W - F + 2P)/S is not an integer, 'exact' raises, 'crop' omits the last pixels (as
      PyTorch does), 'pad' adds zeros at the end (PyTorch's ceil_mode: a window that would start
      beyond the input and its leading padding is dropped).
    what: the layer's name, used in error messages.

  Raises:
    ShapeError: if the size does not fit; the message names the nearest sizes that do.
    ConfigError: for an unknown `fit`.
  """
  if fit not in FITS:
    raise ConfigError(unknown("fit", fit, FITS))
  span = dilation * (window - 1) + 1
  if isinstance(padding, str):
    out = -(-size // stride)
    total = max((out - 1) * stride + span - size, 0)
    return Axis(out, total // 2, total - total // 2)
  low, high = padding
  room = size - span + low + high
  if room < 0 and not (fit == "pad" and size + low > 0 and room > -stride):
    raise ShapeError(
      f"{what}: a size of {size} with padding {low}+{high} is smaller than the window, which "
      f"spans {span}; the smallest size that fits is {max(span - low - high, 1)}"
    )
  remainder = room % stride
  if remainder == 0 or fit == "crop":
    return Axis(room // stride + 1, low, high - remainder)
  if fit == "pad":
    out = -(-room // stride) + 1
    if (out - 1) * stride >= size + low:
      return Axis(out - 1, low, high - remainder)
    return Axis(out, low, high + stride - remainder)
  below, above = size - remainder, size - remainder + stride
  nearby = f"{below} and {above}" if below > 0 else f"{above}"
  raise ShapeError(
    f"{what}: (W - F + 2P)/S + 1 = ({size} - {span} + {low + high})/{stride} + 1 gives no integer; "
    f"the nearest sizes that fit are {nearby}, or set fit='crop' or fit='pad'"
  )


def fit_image(
  size: Sequence[int],
  window: int | Sequence[int],
  stride: int | Sequence[int] = 1,
  padding: Padding = 0,
  dilation: int | Sequence[int] = 1,
  fit: str = "exact",
  what: str = "layer",
) -> Axes:
  """Places a window on (height, width); see `fit_axis`; error messages name the axis."""
  windows, strides = pair(window, "window"), pair(stride, "stride")
  dilations, pads = pair(dilation, "dilation"), padding_pairs(padding)
  vertical, horizontal = (
    fit_axis(
      int(size[i]),
      windows[i],
      strides[i],
      pads if isinstance(pads, str) else pads[i],
      dilations[i],
      fit,
      f"{what}, {axis}",
    )
    for i, axis in enumerate(("height", "width"))
  )
  return vertical, horizontal


def pad_image(x: jax.Array, axes: Axes, value: float) -> jax.Array:
  """Pads with a constant, or crops, [batch, height, width, channels] as `fit_image` determined."""
  if not any(axis.low or axis.high for axis in axes):
    return x
  edges = [(0, 0, 0), *((axis.low, axis.high, 0) for axis in axes), (0, 0, 0)]
  return lax.pad(x, jnp.asarray(value, x.dtype), edges)


def output_size(
  size: int,
  window: int,
  stride: int = 1,
  padding: int | Pair | str = 0,
  dilation: int = 1,
  fit: str = "exact",
) -> int:
  """Returns the output size along an axis, (W - F + 2P)/S + 1; ShapeError if not an integer."""
  pads = (padding, padding) if isinstance(padding, int) else padding
  return fit_axis(size, window, stride, pads, dilation, fit).out


def conv_parameters(
  window: int | Sequence[int], inputs: int, features: int, groups: int = 1, use_bias: bool = True
) -> int:
  """Returns the number of parameters of a convolution, F·F·C·K/groups + K."""
  height, width = pair(window, "window")
  return height * width * inputs * features // groups + (features if use_bias else 0)


def check_image(shape: Sequence[int], total_stride: int, model: str, minimum: int = 0) -> None:
  """Raises ShapeError if images of `shape` [batch, height, width, channels] are too small.

  Args:
    shape: shape of the batch of images.
    total_stride: product of the model's strides; a smaller image would leave no pixel.
    model: the model's name, used in the message.
    minimum: smallest side that the model accepts, if larger than `total_stride`.
  """
  if len(shape) != 4:
    raise ShapeError(
      f"{model}: expected images [batch, height, width, channels], got {tuple(shape)}"
    )
  height, width = shape[1:3]
  least = max(total_stride, minimum)
  if min(height, width) < least:
    raise ShapeError(
      f"{model} has a total stride of {total_stride}: an image of {height}x{width} pixels is too "
      f"small, it takes {least}x{least} and larger"
    )
