"""Losses of label maps against loops over pixels and against published forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from jax.test_util import check_grads
from sklearn.metrics import log_loss

from cnnlab.tasks.segmentation_losses import IGNORED, dice_losses, focal_losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 4, 3)).astype(np.float32) * 2
LABELS = RNG.integers(0, 3, (2, 5, 4)).astype(np.int32)
LABELS[0, 1] = IGNORED
COUNTED = LABELS != IGNORED
PROBABILITIES = scipy.special.softmax(LOGITS, axis=-1)


def test_without_gamma_it_is_scikit_learns_cross_entropy():
  got = np.asarray(focal_losses(LOGITS, LABELS))
  want = log_loss(LABELS[COUNTED], PROBABILITIES[COUNTED], labels=range(3), normalize=False)
  assert got.sum() == pytest.approx(want, rel=1e-5)
  assert (got[~COUNTED] == 0).all()


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_is_that_of_equation_5(gamma):
  weights = (0.25, 0.5, 3.0)
  got = focal_losses(LOGITS, LABELS, gamma, weights)
  for place in np.ndindex(LABELS.shape):
    label = LABELS[place]
    p = PROBABILITIES[place][label]
    want = 0.0 if label == IGNORED else -weights[label] * (1 - p) ** gamma * np.log(p)
    assert float(got[place]) == pytest.approx(want, rel=2e-4, abs=1e-6)


def test_two_classes_give_the_sigmoid_form():
  scores = LOGITS[..., 0]
  logits = np.stack([np.zeros_like(scores), scores], -1)  # softmax of (0, s) is sigmoid of s
  got = focal_losses(logits, np.ones(LABELS.shape, np.int32), 2.0)
  want = optax.sigmoid_focal_loss(jnp.asarray(scores), jnp.ones(scores.shape), gamma=2.0)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_even_where_the_class_is_certain(gamma):
  certain = np.zeros((1, 1, 2, 3), np.float32)
  certain[..., 0] = 200
  labels = np.array([[[0, 1]]], np.int32)
  gradient = jax.grad(lambda x: focal_losses(x, labels, gamma).sum())(certain)
  assert np.isfinite(gradient).all()
  check_grads(lambda x: focal_losses(x, LABELS, gamma).sum(), (LOGITS,), 1, ["rev"], rtol=2e-2)


def test_dice_is_that_of_a_loop_over_images_and_classes():
  got = dice_losses(LOGITS, LABELS)
  for image in range(2):
    counted, losses = COUNTED[image], []
    for index in range(3):
      truth = (LABELS[image] == index)[counted]
      p = PROBABILITIES[image][counted][:, index]
      if truth.any():
        losses.append(1 - 2 * p[truth].sum() / ((p**2).sum() + truth.sum()))
    assert float(got[image]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_dice_is_0_for_a_perfect_map_and_leaves_out_absent_classes():
  labels = np.array([[[0, 0, 1]], [[IGNORED] * 3]], np.int32)
  sure = 100 * jax.nn.one_hot(jnp.maximum(labels, 0), 3)
  np.testing.assert_allclose(dice_losses(sure, labels), [0, 0], atol=1e-6)
  np.testing.assert_allclose(dice_losses(sure, 1 - labels)[0], 1, atol=1e-6)
