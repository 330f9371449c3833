"""Areas of boxes, their intersection over union, and boxes that lie outside of the image."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def areas(boxes: jax.Array) -> jax.Array:
  """Returns the areas [...] of boxes [..., 4]; that of an inverted box is 0."""
  sides = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
  return sides[..., 0] * sides[..., 1]


def iou(first: jax.Array, second: jax.Array) -> jax.Array:
  """Returns intersection over union [n, m] of boxes [n, 4] and [m, 4].

  It is 0 for two empty boxes, where torchvision's `box_iou` has NaN, so that padding is harmless.
  """
  return paired_iou(first[:, None], second[None])


def paired_iou(first: jax.Array, second: jax.Array) -> jax.Array:
  """Returns intersection over union [...] of each box with its partner; both [..., 4] broadcast."""
  shared = shared_areas(first, second)
  union = areas(first) + areas(second) - shared
  return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def shared_areas(first: jax.Array, second: jax.Array) -> jax.Array:
  """Returns the areas [...] that boxes share with their partners; both [..., 4] broadcast."""
  low = jnp.maximum(first[..., :2], second[..., :2])
  high = jnp.minimum(first[..., 2:], second[..., 2:])
  return areas(jnp.concatenate([low, high], axis=-1))


def clip(boxes: jax.Array, size: Sequence[int]) -> jax.Array:
  """Returns the parts of boxes [..., 4] inside of an image of (height, width) `size`.

  A box outside of it becomes empty, on the image's border.
  """
  limit = jnp.asarray([*size, *size], boxes.dtype)
  return jnp.clip(boxes, 0, limit)


def large_enough(boxes: jax.Array, smallest: float) -> jax.Array:
  """Returns a mask [...] of boxes [..., 4] with both sides of at least `smallest` pixels."""
  return jnp.all(boxes[..., 2:] - boxes[..., :2] >= smallest, axis=-1)
