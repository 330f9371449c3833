"""Losses of embeddings [batch, numbers]: what belongs together comes near, the rest goes away.

All pairs or triplets of a batch are formed, so that they are as much a function of the seed and the
step as the batch is.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import jax.numpy as jnp
from jax import Array, lax

from cnnlab.annotations import NonNegative, Positive

_LEAST = 1e-12  # squared distance at which the derivative of the root is cut off
_FAR = 1e9


@dataclasses.dataclass(frozen=True)
class Contrastive:
  """Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping" (CVPR 2006).

  A pair of one class costs D²/2, a pair of two classes max(0, margin - D)²/2 (equation 4). Both kinds
  count the same, though a batch has fewer of the first.

  Attributes:
    margin: distance beyond which two classes are far enough from each other.
  """

  margin: Positive = 1.0

  def __call__(self, embeddings: Array, labels: Array) -> Array:
    """Returns the mean loss, a scalar; 0 of a kind that does not occur."""
    distance = distances(embeddings)
    same, other = pairs(labels)
    near = _mean(jnp.square(distance) / 2, same)
    far = _mean(jnp.square(jnp.maximum(0, self.margin - distance)) / 2, other)
    return (near + far) / 2


@dataclasses.dataclass(frozen=True)
class Triplet:
  """FaceNet's loss (arXiv:1503.03832, equation 3): max(0, D(a, p) - D(a, n) + margin).

  Attributes:
    margin: by how much another class is to be farther away.
    mining: which triplets count: 'all' that violate the margin (arXiv:1703.07737, section 2, "batch
      all" without zeros); 'semi_hard', for each pair of anchor and positive the nearest negative that
      is farther away than the positive, or the farthest one (arXiv:1503.03832, section 3.2); 'hard',
      for each anchor the farthest positive and the nearest negative (arXiv:1703.07737, equation 5).
    distance: 'squared' as FaceNet has it, or 'euclidean' as arXiv:1703.07737 recommends.
  """

  margin: NonNegative = 0.2
  mining: Literal["all", "semi_hard", "hard"] = "semi_hard"
  distance: Literal["euclidean", "squared"] = "squared"

  def __call__(self, embeddings: Array, labels: Array) -> Array:
    """Returns the mean loss, a scalar; 0 without triplets."""
    between = distances(embeddings, squared=self.distance == "squared")
    same, other = pairs(labels)
    if self.mining == "hard":
      farthest = jnp.max(jnp.where(same, between, 0), axis=1)
      nearest = jnp.min(jnp.where(other, between, _FAR), axis=1)
      return _mean(self._hinge(farthest - nearest), same.any(1) & other.any(1))
    # [anchor, positive, negative]
    negative, valid = between[:, None, :], other[:, None, :] & same[:, :, None]
    if self.mining == "all":
      losses = self._hinge(between[:, :, None] - negative)
      return _mean(losses, valid & (losses > 0))
    farther = other[:, None, :] & (negative > between[:, :, None])
    nearest = jnp.min(jnp.where(farther, negative, _FAR), axis=2)
    farthest = jnp.max(jnp.where(other, between, 0), axis=1)[:, None]
    chosen = jnp.where(farther.any(2), nearest, farthest)
    return _mean(self._hinge(between - chosen), valid.any(2))

  def _hinge(self, excess: Array) -> Array:
    return jnp.maximum(0, excess + self.margin)


@dataclasses.dataclass(frozen=True)
class Softmax:
  """Cross-entropy of the training classes; the embedding is what the classifier reads."""


@dataclasses.dataclass(frozen=True)
class Pixels:
  """No loss: the embedding is the image itself, for comparison."""


MetricLoss: TypeAlias = Contrastive | Triplet | Softmax | Pixels
LOSSES: dict[str, type[MetricLoss]] = {
  "contrastive": Contrastive,
  "triplet": Triplet,
  "softmax": Softmax,
  "pixels": Pixels,
}


def distances(embeddings: Array, *, squared: bool = False) -> Array:
  """Returns the distance of each pair, float32 [batch, batch], its square where that is asked for."""
  products = jnp.matmul(embeddings, embeddings.T, precision=lax.Precision.HIGHEST)
  norms = jnp.diagonal(products)
  found = jnp.maximum(norms[:, None] + norms[None, :] - 2 * products, 0)
  return found if squared else jnp.sqrt(jnp.maximum(found, _LEAST))


def pairs(labels: Array) -> tuple[Array, Array]:
  """Returns which pairs are two examples of one class, and of two classes: bool [batch, batch]."""
  same = labels[:, None] == labels[None, :]
  return same & ~jnp.eye(len(labels), dtype=bool), ~same


def _mean(values: Array, counted: Array) -> Array:
  return jnp.sum(jnp.where(counted, values, 0)) / jnp.maximum(jnp.sum(counted), 1)
