"""Kernels of fixed weights, as in image processing, and their separation into columns and rows.

Kernels are float64 arrays [height, width] and are correlated with an image, as everywhere here: a
gradient is positive where the image grows to the right (`_x`) or downwards (`_y`).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from cnnlab.errors import ConfigError
from cnnlab.nn.conv import convolve, require_images
from cnnlab.nn.geometry import Padding
from cnnlab.nn.init import Initializer

_DIFFERENCE = (-1.0, 0.0, 1.0)


def _gradient(name: str, smoothing: Sequence[float]) -> dict[str, np.ndarray]:
  across = np.outer(smoothing, _DIFFERENCE)
  return {f"{name}_x": across, f"{name}_y": across.T.copy()}


KERNELS: dict[str, np.ndarray] = {
  **_gradient("sobel", (1, 2, 1)),
  **_gradient("prewitt", (1, 1, 1)),
  **_gradient("scharr", (3, 10, 3)),
  "laplacian": np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]),
  "sharpen": np.array([[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]),
  "box": np.full((3, 3), 1 / 9),
  "binomial": np.outer((1, 2, 1), (1, 2, 1)) / 16,
}


def gaussian(deviation: float, radius: int | None = None) -> np.ndarray:
  """Returns a Gaussian kernel [2 radius + 1, 2 radius + 1] whose weights sum to 1.

  Args:
    deviation: standard deviation in pixels.
    radius: default: four deviations, rounded, as in `scipy.ndimage`.

  Raises:
    ConfigError: a deviation that is not positive, or a negative radius.
  """
  radius = int(4 * deviation + 0.5) if radius is None else radius
  if not deviation > 0 or radius < 0:
    raise ConfigError(
      f"gaussian: deviation is {deviation} and radius {radius}; allowed: over 0, and 0 or more"
    )
  weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / deviation))
  return np.outer(weights, weights) / weights.sum() ** 2


def separable_terms(kernel: np.ndarray, tolerance: float = 1e-10) -> list[np.ndarray]:
  """Returns the fewest separable kernels whose sum is a kernel, the largest first.

  The first n of them are the best approximation by n separable kernels in the sum of squares
  (Eckart and Young, doi:10.1007/BF02288367). Each costs 2F multiply-adds a pixel instead of F·F.

  Args:
    kernel: [height, width].
    tolerance: singular values below this fraction of the largest count as zero.

  Returns:
    One array [height, width] of rank one per term; as many as the kernel's rank.

  Raises:
    ConfigError: the kernel is no matrix.
  """
  kernel = np.asarray(kernel, np.float64)
  if kernel.ndim != 2 or not np.isfinite(kernel).all():
    raise ConfigError(
      f"a kernel to separate has the shape {kernel.shape}; allowed: (height, width), all finite"
    )
  columns, sizes, rows = np.linalg.svd(kernel, full_matrices=False)
  kept = sizes > tolerance * sizes[0]
  return [
    size * np.outer(column, row)
    for size, column, row in zip(sizes[kept], columns.T[kept], rows[kept], strict=True)
  ]


def separate(kernel: np.ndarray, tolerance: float = 1e-10) -> tuple[np.ndarray, np.ndarray]:
  """Returns a column [height] and a row [width] whose outer product is the kernel.

  The column is the kernel's own through its largest weight, so that whole numbers stay whole.

  Args:
    kernel: [height, width].
    tolerance: see `separable_terms`.

  Raises:
    ConfigError: the kernel is not of rank one; the message tells its rank.
  """
  terms = separable_terms(kernel, tolerance)
  if len(terms) != 1:
    raise ConfigError(
      f"a kernel of rank {len(terms)} is no product of a column and a row; separable_terms() gives "
      f"the {len(terms)} products that it is the sum of"
    )
  kernel = np.asarray(kernel, np.float64)
  peak = kernel.argmax() if kernel.max() >= -kernel.min() else kernel.argmin()
  top, left = np.unravel_index(peak, kernel.shape)
  return kernel[:, left].copy(), kernel[top] / kernel[top, left]


def fixed(*kernels: np.ndarray) -> Initializer:
  """Returns an initializer that applies each kernel to every input channel by itself.

  With `optim.groups` the layer's parameters can be frozen. Output channels are those of the first
  input channel, in the order of `kernels`, then those of the second, and so on:

      both = fixed(KERNELS["sobel_x"], KERNELS["sobel_y"])
      Conv(6, 3, groups=3, use_bias=False, kernel_init=both)

  Raises:
    ConfigError: kernels of different sizes; when a layer starts, a layer of other sizes.
  """
  if len({np.shape(kernel) for kernel in kernels}) != 1:
    raise ConfigError("fixed: the kernels must have one size, and there must be at least one")
  weights, count = np.stack(kernels, axis=-1), len(kernels)

  def init(
    key: jax.Array,
    shape: Sequence[int],
    dtype: DTypeLike | None = jnp.float32,
    out_sharding: object = None,
  ) -> jax.Array:
    del key, out_sharding
    height, width, inputs, outputs = shape
    grouped = inputs == 1 and outputs % count == 0
    if (height, width) != weights.shape[:2] or not (grouped or outputs == inputs * count):
      raise ConfigError(
        f"fixed: {count} kernels of {weights.shape[0]}x{weights.shape[1]} do not fit a layer's "
        f"kernel of {tuple(shape)}; it needs {count} outputs per input channel"
      )
    reads = np.eye(inputs).repeat(count, axis=1) if inputs > 1 else np.ones((1, outputs))
    tiled = np.tile(weights, outputs // count)
    return jnp.asarray(tiled[:, :, None, :] * reads, dtype)

  return init


def filter_images(x: jax.Array, kernel: np.ndarray, padding: Padding = "same") -> jax.Array:
  """Correlates each channel of images with one kernel.

  Args:
    x: [batch, height, width, channels].
    kernel: [window height, window width].
    padding: zeros around the image, see `Conv`.

  Returns:
    [batch, out height, out width, channels].
  """
  require_images(x, "filter_images")
  channels = x.shape[3]
  depthwise = jnp.tile(jnp.asarray(kernel, x.dtype)[:, :, None, None], channels)
  return convolve(x, depthwise, padding=padding, groups=channels, what="filter_images")
