"""Convolution with explicit padding, stride, dilation and groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.native import convolution as native
from cnnlab.nn import geometry
from cnnlab.nn.init import Initializer, kaiming_fan_out
from cnnlab.nn.types import DType

Linear = Callable[[jax.Array, jax.Array], jax.Array]  # of (images, kernel)


def require_images(x: Any, what: str) -> None:
  """Raises ShapeError unless `x` is [batch, height, width, channels]."""
  if x.ndim != 4:
    raise ShapeError(f"{what}: expected [batch, height, width, channels], got shape {x.shape}")


def convolve(
  x: jax.Array,
  kernel: jax.Array,
  stride: int | Sequence[int] = 1,
  padding: geometry.Padding = 0,
  dilation: int | Sequence[int] = 1,
  groups: int = 1,
  fit: str = "exact",
  what: str = "conv",
) -> jax.Array:
  """Cross-correlates images with a kernel.

  Args:
    x: [batch, height, width, in].
    kernel: [window height, window width, in / groups, out].
    stride: one int or (height, width).
    padding: zeros around the image, see `geometry.padding_pairs`.
    dilation: distance between the window's taps.
    groups: number of channel groups, which are convolved independently.
    fit: 'exact', 'crop' or 'pad', see `geometry.fit_axis`.
    what: the layer's name, used in error messages.

  Returns:
    [batch, out height, out width, out].

  Raises:
    ShapeError: if channels or sizes do not fit.
  """
  require_images(x, what)
  inputs, features = x.shape[3], kernel.shape[3]
  if inputs != kernel.shape[2] * groups or features % groups:
    raise ShapeError(
      f"{what}: {groups} groups and a kernel {kernel.shape} do not fit {inputs} input channels"
    )
  axes = geometry.fit_image(x.shape[1:3], kernel.shape[:2], stride, padding, dilation, fit, what)
  return native.convolve(
    x,
    kernel,
    native.Geometry(
      image=x.shape[1:],
      kernel=kernel.shape,
      strides=geometry.pair(stride, "stride"),
      padding=tuple((axis.low, axis.high) for axis in axes),
      dilation=geometry.pair(dilation, "dilation"),
      groups=groups,
    ),
  )


class Conv(nn.Module):
  """Convolution of images [batch, height, width, in] to [batch, out height, out width, features].

  Parameters: `kernel` [window height, window width, in / groups, features], `bias` [features].
  A 1x1 kernel is a fully connected layer over the channels of each pixel.

  Attributes:
    features: output channels K.
    kernel_size: window F, one int or (height, width).
    stride: step S.
    padding: zeros around the image: int, (height, width), ((top, bottom), (left, right)), 'same'
      (output of ceil(size / stride)) or 'valid' (none).
    dilation: distance between the window's taps (arXiv:1511.07122).
    groups: number of independent convolutions side by side (AlexNet's two towers, ResNeXt).
    use_bias: whether to add `bias`.
    dtype: type of the computation; parameters are float32.
    fit: 'exact' raises ShapeError if (W - F + 2P)/S + 1 is not an integer; 'crop' or 'pad'.
    kernel_init: default N(0, 2/(F·F·K)), Kaiming fan-out.
    bias_init: default zero.
  """

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  dilation: int | Sequence[int] = 1
  groups: int = 1
  use_bias: bool = True
  dtype: DType = None
  fit: str = "exact"
  kernel_init: Initializer = kaiming_fan_out()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Convolves `x`; ShapeError or ConfigError if its sizes do not fit."""
    what = f"conv {self.name!r}"
    require_images(x, what)
    check_groups(x.shape[3], self.features, self.groups, what)
    shape = kernel_shape(x, self.kernel_size, self.features, self.groups)

    def apply(images: jax.Array, kernel: jax.Array) -> jax.Array:
      return convolve(
        images, kernel, self.stride, self.padding, self.dilation, self.groups, self.fit, what
      )

    return self.weigh(x, shape, apply)

  def weigh(self, x: jax.Array, shape: tuple[int, ...], apply: Linear) -> jax.Array:
    """Returns `apply(x, kernel)` with a kernel of that shape, plus the bias."""
    return affine(self, x, shape, apply)


def affine(layer: Any, x: jax.Array, shape: tuple[int, ...], apply: Linear) -> jax.Array:
  """Returns `apply(x, kernel)` plus a bias, with parameters created in `layer`.

  Args:
    layer: the module, with `kernel_init`, `bias_init`, `use_bias` and `dtype`.
    x: the input of the linear function.
    shape: shape of the kernel; its last axis is that of the bias.
    apply: the linear function of (x, kernel).
  """
  kernel = layer.param("kernel", layer.kernel_init, shape)
  bias = layer.param("bias", layer.bias_init, shape[-1:]) if layer.use_bias else None
  x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=layer.dtype)
  y = apply(x, kernel)
  return y if bias is None else y + bias


def kernel_shape(
  x: jax.Array, kernel_size: int | Sequence[int], features: int, groups: int
) -> tuple[int, int, int, int]:
  """Returns the kernel's shape [height, width, in / groups, out] for images `x`."""
  height, width = geometry.pair(kernel_size, "kernel_size")
  return height, width, x.shape[3] // groups, features


def check_groups(inputs: int, features: int, groups: int, what: str) -> None:
  """Raises ConfigError unless both channel counts are multiples of `groups`."""
  if groups < 1 or inputs % groups or features % groups:
    raise ConfigError(
      f"{what}: groups={groups} must divide the {inputs} input and {features} output channels"
    )
