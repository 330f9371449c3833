"""Random samples of positive and negative anchors or proposals (arXiv:1506.01497, 3.1.3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def balanced_sample(
  key: jax.Array, positive: jax.Array, negative: jax.Array, size: int, fraction: float
) -> tuple[jax.Array, jax.Array]:
  """Returns masks [n] of the positives and negatives that are drawn, without replacement.

  At most `size * fraction`, rounded down, are positive. Negatives fill up the sample; if there are
  too few of them, it is smaller. torchvision's `BalancedPositiveNegativeSampler` has these rules.

  Args:
    key: random key.
    positive: mask [n].
    negative: mask [n]; what is in neither is never drawn.
    size: number that is drawn.
    fraction: largest share of positives.
  """
  keys = jax.random.split(key)
  positives = _drawn(keys[0], positive, jnp.int32(int(size * fraction)))
  return positives, _drawn(keys[1], negative, size - positives.sum(dtype=jnp.int32))


def chosen(mask: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
  """Returns the indices [size] of the first `size` true values, and a mask [size] of them.

  Where there are fewer, the others are 0 and masked.
  """
  (indices,) = jnp.nonzero(mask, size=size, fill_value=0)
  return indices, jnp.arange(size) < mask.sum()


def _drawn(key: jax.Array, mask: jax.Array, count: jax.Array) -> jax.Array:
  """Returns a mask of `count` random ones of those in `mask`, or all if there are fewer."""
  order = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf).argsort()
  rank = jnp.zeros(mask.shape, jnp.int32).at[order].set(jnp.arange(len(mask), dtype=jnp.int32))
  return mask & (rank < count)
