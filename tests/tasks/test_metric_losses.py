"""Contrastive and triplet losses against plain loops over pairs and triplets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.tasks.metric_losses import Contrastive, Triplet, distances, pairs

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(14, 5)).astype(np.float32)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 4])


def loop(margin, mining, squared):
  """Returns the mean loss over triplets, formed one by one."""
  n = len(LABELS)
  d = np.linalg.norm(EMBEDDINGS[:, None] - EMBEDDINGS[None], axis=-1).astype(float)
  d = d**2 if squared else d
  losses = []
  for a in range(n):
    positives = [i for i in range(n) if i != a and LABELS[i] == LABELS[a]]
    negatives = [i for i in range(n) if LABELS[i] != LABELS[a]]
    if mining == "hard" and positives:
      losses.append(max(0, margin + max(d[a, positives]) - min(d[a, negatives])))
    for p in positives:
      if mining == "semi_hard":
        farther = [d[a, i] for i in negatives if d[a, i] > d[a, p]]
        negative = min(farther) if farther else max(d[a, negatives])
        losses.append(max(0, margin + d[a, p] - negative))
      if mining == "all":
        losses += [x for i in negatives if (x := margin + d[a, p] - d[a, i]) > 0]
  return np.mean(losses)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
@pytest.mark.parametrize("margin", [0.2, 3.0])
def test_triplets_against_a_loop(margin, mining, squared):
  loss = Triplet(margin, mining, "squared" if squared else "euclidean")
  assert float(loss(EMBEDDINGS, LABELS)) == pytest.approx(loop(margin, mining, squared), rel=1e-4)


@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_pairs_against_a_loop(margin):
  near, far = [], []
  for i in range(len(LABELS)):
    for j in range(i):
      d = np.linalg.norm(EMBEDDINGS[i] - EMBEDDINGS[j])
      if LABELS[i] == LABELS[j]:
        near.append(d**2 / 2)
      else:
        far.append(max(0, margin - d) ** 2 / 2)
  expected = (np.mean(near) + np.mean(far)) / 2
  assert float(Contrastive(margin)(EMBEDDINGS, LABELS)) == pytest.approx(expected, rel=1e-4)


def test_distances_and_pairs():
  expected = np.linalg.norm(EMBEDDINGS[:, None] - EMBEDDINGS[None], axis=-1)
  np.testing.assert_allclose(distances(EMBEDDINGS), expected, atol=2e-3)
  np.testing.assert_allclose(distances(EMBEDDINGS, squared=True), expected**2, atol=1e-4)
  same, other = pairs(jnp.asarray(LABELS))
  assert int(same.sum()) == 4 * 3 + 3 * 2 + 5 * 4
  assert not (same & other).any()
  assert int(same.sum() + other.sum()) == 14 * 13


LOSSES = [
  Contrastive(),
  Triplet(0.5, "all", "euclidean"),
  Triplet(0.5, "semi_hard", "squared"),
  Triplet(0.5, "hard", "euclidean"),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_where_embeddings_are_equal_and_where_no_pair_is(loss):
  derivative = jax.jit(jax.value_and_grad(loss))
  for embeddings, labels in (
    (np.ones((6, 3), np.float32), np.array([0, 0, 0, 1, 1, 1])),
    (EMBEDDINGS[:6], np.arange(6)),
    (EMBEDDINGS[:6], np.zeros(6, int)),
  ):
    value, gradient = derivative(jnp.asarray(embeddings), jnp.asarray(labels))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_step_against_the_gradient_separates_classes():
  loss = Triplet(1.0, "hard", "euclidean")
  step = jax.jit(lambda x: x - 0.05 * jax.grad(loss)(x, jnp.asarray(LABELS)))
  x, before = jnp.asarray(EMBEDDINGS), loss(EMBEDDINGS, LABELS)
  for _ in range(200):
    x = step(x)
  assert loss(x, LABELS) < 0.5 * before
