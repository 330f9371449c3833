"""Greedy non-maximum suppression with static shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.boxes.overlap import iou


def nms(
  boxes: jax.Array,
  scores: jax.Array,
  valid: jax.Array,
  threshold: float | jax.Array,
  most: int,
  classes: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Returns the boxes that overlap no better one, by decreasing score.

  A box is dropped if its IoU with one of higher score that is kept exceeds the threshold; of equal
  scores the first counts as higher. The memory is that of a mask [n, n].

  Args:
    boxes: [n, 4].
    scores: [n], without NaN.
    valid: mask [n]; others are neither kept nor do they suppress.
    threshold: largest IoU of boxes that are kept.
    most: number of boxes that are returned.
    classes: integers [n]; boxes of different classes do not suppress each other. It may be any
      group, such as the map that a proposal is from.

  Returns:
    (indices [most] of the boxes, mask [most]); indices that are masked are 0.
  """
  order = jnp.argsort(jnp.where(valid, -scores, jnp.inf), stable=True)
  boxes, valid = boxes[order], valid[order]
  suppresses = jnp.triu(iou(boxes, boxes) > threshold, 1)
  if classes is not None:
    suppresses &= classes[order][:, None] == classes[order][None]

  # The greedy result is the only mask that this maps to itself. Since a box depends on better ones
  # alone, it is reached, after as many steps as the longest chain of boxes that drop each other.
  def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    kept, _ = state
    new = valid & ~(suppresses & kept[:, None]).any(0)
    return new, (new != kept).any()

  kept, _ = lax.while_loop(lambda state: state[1], step, (valid, valid.any()))
  (places,) = jnp.nonzero(kept, size=most, fill_value=0)
  found = jnp.arange(most) < kept.sum()
  return jnp.where(found, order[places], 0), found
