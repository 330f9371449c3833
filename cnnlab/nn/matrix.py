"""Convolution as a product of matrices, in the two forms that are in use.

`im2col` writes every window as a row, so that one dense product gives all outputs; `conv_matrix` is
the sparse matrix by which the whole image is multiplied. Both are to show and to check what
`Conv` computes, not to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.nn import geometry
from cnnlab.nn.conv import require_images

# scipy is imported where a matrix is made: nothing else here needs it.
if TYPE_CHECKING:
  from scipy.sparse import csr_array


def im2col(
  x: jax.Array,
  window: int | Sequence[int],
  stride: int | Sequence[int] = 1,
  padding: geometry.Padding = 0,
  dilation: int | Sequence[int] = 1,
) -> jax.Array:
  """Returns the pixels under each position of a window as a row.

  `im2col(x, ...) @ kernel.reshape(-1, features)` is the convolution with a kernel [window height,
  window width, in, features] (CS231n, "Implementation as matrix multiplication").

  Args:
    x: [batch, height, width, in].
    window, stride, padding, dilation: as of `Conv`; the window must fit exactly.

  Returns:
    [batch, out height, out width, window height * window width * in].

  Raises:
    ShapeError: the window does not fit.
  """
  require_images(x, "im2col")
  size, steps = geometry.pair(window, "window"), geometry.pair(stride, "stride")
  apart = geometry.pair(dilation, "dilation")
  axes = geometry.fit_image(x.shape[1:3], size, steps, padding, apart, what="im2col")
  x = geometry.pad_image(x, axes, 0.0)
  rows, columns = (
    [slice(tap * d, tap * d + (axis.out - 1) * s + 1, s) for tap in range(count)]
    for axis, count, s, d in zip(axes, size, steps, apart, strict=True)
  )
  return jnp.concatenate([x[:, down, across] for down in rows for across in columns], axis=-1)


def conv_matrix(
  kernel: np.ndarray,
  size: int | Sequence[int],
  stride: int | Sequence[int] = 1,
  padding: geometry.Padding = 0,
  dilation: int | Sequence[int] = 1,
) -> csr_array:
  """Returns the sparse matrix by which a convolution multiplies a flattened image.

  With stride 1 and one channel it is a doubly blocked Toeplitz matrix: each block and each diagonal
  within a block holds one weight over and over. Its transpose computes the gradient with respect to
  the image, which is a transposed convolution.

  Args:
    kernel: [window height, window width, in, features].
    size: size of the image, one int or (height, width).
    stride, padding, dilation: as of `Conv`; the window must fit exactly.

  Returns:
    float64 [out height * out width * features, height * width * in].

  Raises:
    ShapeError: the window does not fit, or the kernel has no four axes.
  """
  from scipy.sparse import coo_array

  kernel = np.asarray(kernel, np.float64)
  if kernel.ndim != 4:
    raise ShapeError(
      f"conv_matrix: a kernel has the shape {kernel.shape}; allowed: (height, width, in, out)"
    )
  height, width = geometry.pair(size, "size")
  steps, apart = geometry.pair(stride, "stride"), geometry.pair(dilation, "dilation")
  axes = geometry.fit_image(
    (height, width), kernel.shape[:2], steps, padding, apart, what="conv_matrix"
  )
  taps_down, taps_across, inputs, features = kernel.shape
  grid = (axes[0].out, axes[1].out, taps_down, taps_across, inputs, features)
  row, column, down, across, channel, feature = np.indices(grid, sparse=True)
  top = row * steps[0] + down * apart[0] - axes[0].low
  left = column * steps[1] + across * apart[1] - axes[1].low
  inside = (top >= 0) & (top < height) & (left >= 0) & (left < width)
  outputs = (row * axes[1].out + column) * features + feature
  pixels = (top * width + left) * inputs + channel
  where = np.broadcast_to(inside, grid)
  entries = (np.broadcast_to(array, grid)[where] for array in (kernel, outputs, pixels))
  values, rows, columns = entries
  shape = (axes[0].out * axes[1].out * features, height * width * inputs)
  return coo_array((values, (rows, columns)), shape=shape).tocsr()
