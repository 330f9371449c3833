"""Mean field against enumeration of all labelings of tiny images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.crf import free_energy, mean_field, potts, update
from cnnlab.crf.gaussian import appearance_features, exact, normalized
from cnnlab.crf.grid import grid_messages

from .fields import enumerate_labelings, gaussian_pairs, grid_pairs, loops, normalized_pairs

SIZE, CLASSES = (2, 3), 3
GRID = {"neighbors": 8, "weight": 0.3, "contrast": 0.9, "color_width": 0.5}


def draws(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def field(kind, strength=1.0, seed=0):
  """Scores, messages, the pairs as a matrix, and a learned-looking compatibility."""
  image, scores = draws(*SIZE, 3, seed=seed), draws(*SIZE, CLASSES, seed=seed + 1)
  change = draws(CLASSES, CLASSES, seed=seed + 2)
  compatibility = np.asarray(potts(CLASSES)) + 0.2 * (change + change.T)
  if kind == "grid":
    messages, pairs = grid_messages(jnp.asarray(image), **GRID), grid_pairs(image, **GRID)
  else:
    features = appearance_features(jnp.asarray(image), 1.5, 1.2)
    messages = normalized(exact(features), SIZE)
    pairs = normalized_pairs(gaussian_pairs(image, 1.5, 1.2))
  return scores, lambda v: strength * messages(v), strength * pairs, compatibility


@pytest.mark.parametrize("kind", ["grid", "gaussian"])
def test_updates_are_those_of_the_definition(kind):
  scores, messages, pairs, compatibility = field(kind, 2.0)
  found = mean_field(jnp.asarray(scores), messages, compatibility, 4, damping=0.3)
  expected = loops(scores, pairs, compatibility, 4, damping=0.3)
  np.testing.assert_allclose(found, expected, atol=2e-5)
  np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["grid", "gaussian"])
def test_free_energy_exceeds_minus_log_z_by_the_divergence_from_the_field(kind):
  scores, messages, pairs, compatibility = field(kind, 1.5)
  labelings, log_p, log_z = enumerate_labelings(scores, pairs, compatibility)
  for log_q in (
    jax.nn.log_softmax(draws(*SIZE, CLASSES, seed=9)),
    mean_field(jnp.asarray(scores), messages, compatibility, 30, damping=0.5),
  ):
    flat = np.asarray(log_q, float).reshape(-1, CLASSES)
    joint = flat[np.arange(len(flat)), labelings].sum(1)
    divergence = (np.exp(joint) * (joint - log_p)).sum()
    found = float(free_energy(jnp.asarray(scores), messages, compatibility, log_q))
    assert divergence > 0
    assert found == pytest.approx(divergence - log_z, abs=1e-4)


@pytest.mark.parametrize("kind", ["grid", "gaussian"])
def test_marginals_are_as_near_as_the_free_energy_says(kind):
  """Pinsker's inequality: the total variation is at most the root of half the divergence."""
  scores, messages, pairs, compatibility = field(kind)
  labelings, log_p, log_z = enumerate_labelings(scores, pairs, compatibility)
  log_q = mean_field(jnp.asarray(scores), messages, compatibility, 60, damping=0.5)
  gap = float(free_energy(jnp.asarray(scores), messages, compatibility, log_q)) + log_z
  own = np.exp(np.asarray(log_q, float)).reshape(-1, CLASSES)
  true = np.stack([np.exp(log_p) @ (labelings == label) for label in range(CLASSES)], axis=1)
  variation = np.abs(own - true).sum(1) / 2
  assert (variation <= np.sqrt(gap / 2)).all()
  # And better than the scores alone.
  alone = np.asarray(jax.nn.softmax(scores)).reshape(-1, CLASSES)
  assert variation.mean() < 0.5 * np.abs(alone - true).sum(1).mean() / 2


@pytest.mark.parametrize("kind", ["grid", "gaussian"])
@pytest.mark.parametrize("strength", [0.5, 4.0])
def test_damped_updates_lower_the_free_energy_until_nothing_changes(kind, strength):
  scores, messages, pairs, compatibility = field(kind, strength, seed=5)
  bound = np.abs(pairs).sum(1).max() * np.abs(compatibility).max()
  step = jax.jit(
    functools.partial(update, scores, messages, compatibility, damping=float(bound / (1 + bound)))
  )
  energy = jax.jit(functools.partial(free_energy, scores, messages, compatibility))
  log_q, energies = jax.nn.log_softmax(draws(*SIZE, CLASSES, seed=7)), []
  for _ in range(200):
    energies.append(float(energy(log_q)))
    log_q = step(log_marginals=log_q)
  assert np.diff(energies).max() < 1e-5  # float32
  assert energies[-1] < energies[0] - 0.1
  np.testing.assert_allclose(step(log_marginals=log_q), log_q, atol=1e-3)
  np.testing.assert_allclose(log_q, update(scores, messages, compatibility, log_q), atol=2e-3)


def test_without_pairs_the_marginals_are_the_softmax_of_the_scores():
  scores = draws(*SIZE, CLASSES)
  found = mean_field(jnp.asarray(scores), jnp.zeros_like, potts(CLASSES), 3)
  np.testing.assert_allclose(found, jax.nn.log_softmax(scores), atol=1e-6)


def test_labels_are_interchangeable_and_a_constant_of_a_pixel_counts_for_nothing():
  scores, messages, _, _ = field("gaussian", 2.0)
  found = np.asarray(mean_field(jnp.asarray(scores), messages, potts(CLASSES), 5))
  order = np.array([2, 0, 1])
  moved = scores[..., order] + draws(*SIZE, 1, seed=4)
  np.testing.assert_allclose(
    mean_field(jnp.asarray(moved), messages, potts(CLASSES), 5), found[..., order], atol=1e-5
  )
