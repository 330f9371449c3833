"""Messages between neighboring pixels, weaker across a contrast.

As in TextonBoost (Shotton et al. 2009, section 4.1), two neighbors have the weight

    k_ij = (weight + contrast exp(-|I_i - I_j|² / (2 color_width²))) / |p_i - p_j|

for the colors I and the positions p.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnlab.crf.mean_field import Messages

# Each pair of neighbors once, as (rows, columns) from one to the other.
NEIGHBORS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}


def grid_messages(
  image: jax.Array,
  neighbors: int,
  weight: jax.Array | float,
  contrast: jax.Array | float,
  color_width: jax.Array | float,
) -> Messages:
  """Returns the messages of a grid.

  Args:
    image: [height, width, channels].
    neighbors: 4, or 8 with the diagonal ones.
    weight: of every pair of neighbors.
    contrast: added weight of neighbors of the same color.
    color_width: distance of colors at which the added weight has fallen to 0.61 of itself.
  """
  edges = {}
  for offset in NEIGHBORS[neighbors]:
    squared = jnp.sum((_moved(image, offset) - image) ** 2, axis=-1, keepdims=True)
    similar = jnp.exp(-squared / (2 * color_width**2))
    inside = _moved(jnp.ones_like(similar), offset)
    edges[offset] = inside * (weight + contrast * similar) / jnp.hypot(*map(float, offset))

  def messages(values: jax.Array) -> jax.Array:
    total = jnp.zeros_like(values)
    for (rows, columns), edge in edges.items():
      total += edge * _moved(values, (rows, columns)) + _moved(edge * values, (-rows, -columns))
    return total

  return messages


def _moved(x: jax.Array, offset: tuple[int, int]) -> jax.Array:
  """Returns what lies `offset` from each pixel of [height, width, channels], zero outside."""
  pads = [(max(-step, 0), max(step, 0)) for step in offset]
  start = [max(step, 0) for step in offset]
  height, width = x.shape[:2]
  padded = jnp.pad(x, [*pads, (0, 0)])
  return padded[start[0] : start[0] + height, start[1] : start[1] + width]
