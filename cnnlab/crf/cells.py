"""A fast approximation of Gaussian sums over all pairs of pixels: cells of similar pixels.

A k-d tree divides the pixels, as points of position and color, into cells of equal number: every
node is halved at the median of the coordinate that varies most. What a cell sends is that of a
Gaussian with the cell's mean and variances, corrected to first order for the values' own
distribution in the cell; so the error is of second order in the size of the cells, and zero where
each holds one pixel. Every pixel is compared with every cell: pixels times cells instead of pixels
squared.

The tree is that of Adams et al. 2009 ("Gaussian KD-trees for fast high-dimensional filtering"), the
expansion that of the improved fast Gauss transform (Yang et al. 2003). All shapes are fixed, and the
sums are matrix products. The paper's permutohedral lattice is a hash table of vertices, faster but
further from the exact sums; docs/crf.md compares them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnlab.crf.gaussian import in_blocks
from cnnlab.crf.mean_field import Messages


def approximate(features: jax.Array, cells: int) -> Messages:
  """Returns the messages of exp(-|f_i - f_j|² / 2), approximated.

  Gradients are those of the approximation, with the pixels' assignment to cells held fixed.

  Args:
    features: [pixels, dimensions], such as `cnnlab.crf.gaussian.appearance_features`.
    cells: number of cells, rounded down to a power of two.
  """
  features = features - features.mean(0)
  pixels, dimensions = features.shape
  order = cell_order(jax.lax.stop_gradient(features), cells)
  inside = (order < pixels)[..., None]
  count = jnp.maximum(inside.sum(1), 1)
  points = jnp.where(inside, features[order], 0)
  means = points.sum(1) / count
  deviations = jnp.where(inside, points - means[:, None], 0)
  spreads = 1 + jnp.sum(deviations**2, axis=1) / count
  heights = -0.5 * jnp.sum(jnp.log(spreads), axis=1)
  # -|x - mean|² / (2 spread) + height as a product of a pixel's and a cell's vector.
  constants = heights - 0.5 * jnp.sum(means**2 / spreads, axis=1)
  exponents = jnp.concatenate([means / spreads, -0.5 / spreads, constants[:, None]], axis=1)

  own = jnp.argsort(order.ravel())[:pixels] // order.shape[1]
  shares = (features - means[own]) ** 2 / spreads[own]
  distances = jnp.sum(shares, axis=1, keepdims=True)
  to_itself = jnp.exp(heights[own][:, None] - 0.5 * distances) * (1 + distances)

  def messages(values: jax.Array) -> jax.Array:
    flat = values.reshape(pixels, -1)
    sent = jnp.where(inside, flat[order], 0)
    slopes = jnp.einsum("mid,mic->mdc", deviations / spreads[:, None], sent)
    base = sent.sum(1) - jnp.einsum("md,mdc->mc", means, slopes)
    table = jnp.concatenate([base[:, None], slopes], axis=1).reshape(len(order), -1)

    def rows(block: jax.Array) -> jax.Array:
      terms = jnp.concatenate([block, block**2, jnp.ones((len(block), 1))], axis=1)
      sums = jnp.exp(jnp.minimum(terms @ exponents.T, 0)) @ table
      sums = sums.reshape(len(block), 1 + dimensions, -1)
      return sums[:, 0] + jnp.einsum("bd,bdc->bc", block, sums[:, 1:])

    with jax.default_matmul_precision("highest"):
      return (in_blocks(rows, features, len(order)) - to_itself * flat).reshape(values.shape)

  return messages


def cell_order(features: jax.Array, cells: int) -> jax.Array:
  """Returns the pixels of each cell, int32 [cells, most pixels of a cell].

  Args:
    features: [pixels, dimensions].
    cells: number of cells, rounded down to a power of two.

  Returns:
    Indices of rows; those from `pixels` on stand for no pixel.
  """
  depth = cells.bit_length() - 1
  most = -(-len(features) // 2**depth)
  places = jnp.arange(most * 2**depth)
  padded = jnp.pad(features, ((0, len(places) - len(features)), (0, 0)), mode="edge")

  # All levels have the same shapes, so that one sort is compiled.
  def halve(level: jax.Array, order: jax.Array) -> jax.Array:
    size = len(places) >> level
    nodes, points = places // size, padded[order]
    means = jax.ops.segment_sum(points, nodes, 2**depth, indices_are_sorted=True) / size
    squares = (points - means[nodes]) ** 2
    widest = jax.ops.segment_sum(squares, nodes, 2**depth, indices_are_sorted=True).argmax(1)
    along = jnp.take_along_axis(points, widest[nodes][:, None], axis=1)[:, 0]
    return order[jnp.lexsort((along, nodes))]

  return jax.lax.fori_loop(0, depth, halve, places).reshape(2**depth, most)
