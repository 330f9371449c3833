"""Losses of a class for each pixel; every one is zero at ignored pixels.

Arrays: logits [batch, height, width, classes], labels int32 [batch, height, width] with `IGNORED`
where a pixel counts for nothing. All compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

IGNORED = -1
_LEAST = 1e-8  # keeps the gradient of a power below 1 finite at zero


def focal_losses(
  logits: Array, labels: Array, gamma: float = 0.0, weights: Sequence[float] = ()
) -> Array:
  """Returns each pixel's focal loss -w (1 - p)^gamma log p (arXiv:1708.02002, equation 5).

  p is the softmax probability of the pixel's class, and w the weight of that class. With a gamma
  of 0 this is cross-entropy.

  Args:
    logits, labels: see the module.
    gamma: how much less pixels count that are classified well.
    weights: of each class; empty: all are 1.

  Returns:
    float32 [batch, height, width].
  """
  log_probability = _of_own_class(jax.nn.log_softmax(logits.astype(jnp.float32)), labels)
  losses = -log_probability
  if gamma:
    losses *= jnp.maximum(-jnp.expm1(log_probability), _LEAST) ** gamma
  if weights:
    losses *= jnp.asarray(weights, jnp.float32)[jnp.maximum(labels, 0)]
  return jnp.where(labels == IGNORED, 0.0, losses)


def dice_losses(logits: Array, labels: Array) -> Array:
  """Returns each image's dice loss, float32 [batch].

  It is 1 - 2 sum(p t) / (sum(p^2) + sum(t)), summed over labelled pixels, where t is 1 at pixels of
  the class and p its probability (arXiv:1606.04797, section 3), averaged over the classes that
  occur in the image. An image without labelled pixels has a loss of 0.
  """
  labelled = (labels != IGNORED)[..., None]
  truth = jax.nn.one_hot(labels, logits.shape[-1])  # zeros where ignored
  probability = jnp.where(labelled, jax.nn.softmax(logits.astype(jnp.float32)), 0.0)
  overlap = jnp.sum(probability * truth, axis=(1, 2))
  size = jnp.sum(truth, axis=(1, 2))
  occurs = size > 0
  total = jnp.sum(probability**2, axis=(1, 2)) + size
  losses = jnp.where(occurs, 1 - 2 * overlap / jnp.where(occurs, total, 1), 0.0)
  return jnp.sum(losses, axis=-1) / jnp.maximum(jnp.sum(occurs, axis=-1), 1)


def _of_own_class(scores: Array, labels: Array) -> Array:
  """Returns scores[..., label], and anything at ignored pixels."""
  return jnp.take_along_axis(scores, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
