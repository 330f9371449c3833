"""Conversion of kernels between fully connected layers and convolutions.

CS231n, "Converting FC layers to CONV layers": a layer that is connected to a whole map of height x
width x channels is a convolution with a window of that size, which slides over larger maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax

from cnnlab.errors import ShapeError
from cnnlab.nn import geometry


def dense_as_conv(kernel: jax.Array, window: int | Sequence[int]) -> jax.Array:
  """Converts the kernel of a dense layer to that of a convolution without padding.

  Args:
    kernel: [height * width * channels, features], of a layer after a flattened map (as
      `x.reshape(batch, -1)` flattens [batch, height, width, channels]).
    window: (height, width) of the map before flattening; 1 after another dense layer.

  Returns:
    [height, width, channels, features]; the bias is unchanged.

  Raises:
    ShapeError: the kernel's rows are not a multiple of the window's pixels.
  """
  height, width = geometry.pair(window, "window")
  if kernel.ndim != 2 or kernel.shape[0] % (height * width):
    raise ShapeError(
      f"a dense kernel {tuple(kernel.shape)} cannot come from a map of {height}x{width} pixels: "
      f"it must be [{height * width} * channels, features]"
    )
  return kernel.reshape(height, width, -1, kernel.shape[1])


def conv_as_dense(kernel: jax.Array) -> jax.Array:
  """Converts a kernel [height, width, channels, features] to that of a dense layer.

  The inverse of `dense_as_conv`; on a map of height x width both layers give the same result.

  Raises:
    ShapeError: the kernel does not have four axes.
  """
  if kernel.ndim != 4:
    raise ShapeError(f"a convolution's kernel has four axes, got {tuple(kernel.shape)}")
  return kernel.reshape(math.prod(kernel.shape[:3]), kernel.shape[3])
