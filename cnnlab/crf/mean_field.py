"""Mean-field inference in random fields with pairwise energies (arXiv:1210.5644, section 2).

The labels x of an image's pixels have the energy

    E(x) = - sum_i scores_i(x_i) + sum_{i<j} compatibility(x_i, x_j) k_ij

and the probability exp(-E(x)) / Z. Mean field replaces it by the product of marginals Q_i that is
nearest in Kullback-Leibler divergence; they are a fixed point of

    Q_i(a) ~ exp(scores_i(a) - sum_b compatibility(a, b) sum_{j != i} k_ij Q_j(b)).

The inner sums are the messages: `cnnlab.crf.grid` and `cnnlab.crf.gaussian` compute them for their
k. Functions take one image, [height, width, classes].
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

# From values [height, width, channels] to sum_{j != i} k_ij values_j, of the same shape. Linear,
# and symmetric: k_ij = k_ji.
Messages = Callable[[jax.Array], jax.Array]


def potts(classes: int) -> jax.Array:
  """Returns the compatibility [classes, classes] of Potts's model: 1 where labels differ."""
  return 1 - jnp.eye(classes)


def update(
  scores: jax.Array,
  messages: Messages,
  compatibility: jax.Array,
  log_marginals: jax.Array,
  damping: float = 0.0,
) -> jax.Array:
  """Returns the log marginals after an update of all pixels at once.

  Args:
    scores: [height, width, classes]; a constant for each pixel makes no difference.
    messages: of the field.
    compatibility: [classes, classes], symmetric; the energy of a pair of labels.
    log_marginals: [height, width, classes].
    damping: share of the old log marginals that is kept. The free energy falls if it is at least
      L / (1 + L), where L is the largest sum of |k_ij compatibility| at a pixel.
  """
  energy = messages(jnp.exp(log_marginals)) @ compatibility
  mixed = damping * log_marginals + (1 - damping) * (scores - energy)
  return jax.nn.log_softmax(mixed, axis=-1)


def mean_field(
  scores: jax.Array,
  messages: Messages,
  compatibility: jax.Array,
  iterations: int,
  damping: float = 0.0,
) -> jax.Array:
  """Returns log marginals [height, width, classes] after updates from those of the scores alone.

  Differentiable; the backward pass keeps the marginals of each iteration and repeats the rest.

  Args:
    scores, messages, compatibility, damping: as of `update`.
    iterations: number of updates.
  """

  def step(log_marginals: jax.Array, _: None) -> tuple[jax.Array, None]:
    return update(scores, messages, compatibility, log_marginals, damping), None

  start = jax.nn.log_softmax(scores, axis=-1)
  return lax.scan(jax.checkpoint(step), start, None, length=iterations)[0]


def free_energy(
  scores: jax.Array, messages: Messages, compatibility: jax.Array, log_marginals: jax.Array
) -> jax.Array:
  """Returns the mean energy less the entropy of independent marginals, at least -log Z."""
  marginals = jnp.exp(log_marginals)
  pairs = 0.5 * jnp.sum(marginals * (messages(marginals) @ compatibility))
  return pairs + jnp.sum(marginals * (log_marginals - scores))
