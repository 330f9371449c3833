"""Messages between all pairs of pixels, by Gaussian kernels (arXiv:1210.5644, sections 2 and 3).

    appearance  k_ij = exp(-|p_i - p_j|² / (2 position_width²) - |I_i - I_j|² / (2 color_width²))
    smoothness  k_ij = exp(-|p_i - p_j|² / (2 width²))

for the positions p and the colors I. No form holds the matrix of all pairs: smoothness is a product
of one small matrix for each axis, exact up to rounding; appearance goes through the pixels in
blocks, each against all pixels (`exact`), or against cells of similar ones (`cnnlab.crf.cells`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.crf.mean_field import Messages

ENTRIES = 2**24  # of the kernel that are held at once, 64 MiB


def appearance_features(
  image: jax.Array, position_width: jax.Array | float, color_width: jax.Array | float
) -> jax.Array:
  """Returns positions and colors in units of their widths, [pixels, 2 + channels].

  Args:
    image: [height, width, channels].
    position_width: in pixels.
    color_width: in the image's units.
  """
  height, width, channels = image.shape
  grid = jnp.stack(jnp.mgrid[:height, :width], axis=-1).reshape(-1, 2)
  colors = image.reshape(-1, channels)
  return jnp.concatenate([grid / position_width, colors / color_width], axis=1)


def exact(features: jax.Array) -> Messages:
  """Returns the messages of exp(-|f_i - f_j|² / 2), summed over every pair of pixels.

  Args:
    features: [pixels, dimensions], such as `appearance_features`.
  """
  # A distance is computed as |a|² - 2ab + |b|², which loses fewer digits near the origin.
  features = features - features.mean(0)
  squares = jnp.sum(features**2, axis=1)

  def messages(values: jax.Array) -> jax.Array:
    flat = values.reshape(len(features), -1)

    def rows(block: jax.Array) -> jax.Array:
      cross = block @ features.T - 0.5 * squares - 0.5 * jnp.sum(block**2, axis=1, keepdims=True)
      return jnp.exp(jnp.minimum(cross, 0)) @ flat

    with jax.default_matmul_precision("highest"):
      return (in_blocks(rows, features, len(features)) - flat).reshape(values.shape)

  return messages


def in_blocks(
  rows: Callable[[jax.Array], jax.Array], features: jax.Array, columns: int
) -> jax.Array:
  """Returns rows(features), computed for a part of the pixels at a time, also in the backward pass.

  Args:
    rows: from [rows, dimensions] to [rows, channels], each row by itself.
    features: [pixels, dimensions].
    columns: number of entries of the kernel in each row.
  """
  pixels, dimensions = features.shape
  block = min(max(ENTRIES // columns, 1), pixels)
  blocks = -(-pixels // block)
  padded = jnp.pad(features, ((0, blocks * block - pixels), (0, 0)))
  found = lax.map(jax.checkpoint(rows), padded.reshape(blocks, block, dimensions))
  return found.reshape(blocks * block, -1)[:pixels]


def smoothness(size: tuple[int, int], width: jax.Array | float) -> Messages:
  """Returns the messages of the smoothness kernel.

  Args:
    size: (height, width) of the image.
    width: of the kernel, in pixels.
  """
  rows, columns = (
    jnp.exp(-0.5 * ((jnp.arange(n)[:, None] - jnp.arange(n)) / width) ** 2) for n in size
  )

  def messages(values: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
      return jnp.einsum("ih,jw,hwc->ijc", rows, columns, values) - values

  return messages


def normalized(messages: Messages, size: tuple[int, int]) -> Messages:
  """Returns the messages of k_ij / sqrt(d_i d_j), where d_i is the sum of row i with k_ii = 1.

  This symmetric normalization is that of the paper's code. Since k_ii = 1, no d_i is below 1.

  Args:
    messages: of a kernel.
    size: (height, width) of the image.
  """
  degrees = 1 + jnp.maximum(messages(jnp.ones((*size, 1))), 0)
  scale = lax.rsqrt(degrees)
  return lambda values: scale * messages(scale * values)
