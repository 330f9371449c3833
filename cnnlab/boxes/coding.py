"""Boxes as offsets from anchors (Faster R-CNN, arXiv:1506.01497, eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Weights = Sequence[float]

# The largest log of a relative size that is decoded: a box of 1000 pixels from a stride of 16.
LARGEST_LOG = math.log(1000 / 16)
ONES = (1.0, 1.0, 1.0, 1.0)  # weights of RPN and RetinaNet
BOX_HEAD = (10.0, 10.0, 5.0, 5.0)  # of Fast R-CNN's head
# Sides of boxes are at least this many pixels when they are encoded, so that padding gives numbers.
SMALLEST_SIDE = 1e-6


def encode(boxes: jax.Array, anchors: jax.Array, weights: Weights = ONES) -> jax.Array:
  """Returns the offsets [..., 4] of boxes [..., 4] from anchors [..., 4].

  Args:
    boxes: to be encoded.
    anchors: one for each box.
    weights: factors of the offsets.

  Returns:
    (tx, ty, tw, th), in the paper's order, which is that of published weights: distances of the
    centers over the anchor's size, and logs of the ratio of sizes.
  """
  center, sides = _center_and_sides(boxes)
  anchor_center, anchor_sides = _center_and_sides(anchors)
  moved = (center - anchor_center) / anchor_sides
  offsets = jnp.concatenate([moved[..., ::-1], jnp.log(sides / anchor_sides)[..., ::-1]], axis=-1)
  return offsets * jnp.asarray(weights, offsets.dtype)


def decode(offsets: jax.Array, anchors: jax.Array, weights: Weights = ONES) -> jax.Array:
  """Returns the boxes [..., 4] at offsets [..., 4] from anchors [..., 4]: the inverse of `encode`.

  Logs of sizes above `LARGEST_LOG` are cut, so that `exp` does not overflow.
  """
  offsets = offsets / jnp.asarray(weights, offsets.dtype)
  low, high = anchors[..., :2], anchors[..., 2:]
  sides = high - low
  center = low + 0.5 * sides + offsets[..., 1::-1] * sides
  half = 0.5 * sides * jnp.exp(jnp.minimum(offsets[..., :1:-1], LARGEST_LOG))
  return jnp.concatenate([center - half, center + half], axis=-1)


def _center_and_sides(boxes: jax.Array) -> tuple[jax.Array, jax.Array]:
  sides = boxes[..., 2:] - boxes[..., :2]
  return boxes[..., :2] + 0.5 * sides, jnp.maximum(sides, SMALLEST_SIDE)
