"""Attacks against a plain loop over images and pixels, and their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnlab.errors import ConfigError
from cnnlab.inspect.adversarial import Target, accuracy_under_attack, fgsm, pgd
from cnnlab.runs import load


@pytest.fixture(scope="module")
def attacked(digits_run):
  from sklearn.datasets import load_digits

  digits = load_digits()
  images = (digits.images[:40] * 255 / 16).round().astype(np.uint8)[..., None]
  return load(digits_run).trained, images, digits.target[:40]


def plain_fgsm(trained, images, labels, epsilon):
  """One image at a time, one value at a time, through the run's own preprocessing."""

  def loss(pixels, label):
    inputs = (pixels - trained.preprocess.mean) / trained.preprocess.scale
    out = trained.model.apply(trained.variables, inputs[None], train=False)[0][0]
    return optax.softmax_cross_entropy_with_integer_labels(out, label)

  slope_of = jax.jit(jax.grad(loss))
  found = []
  for image, label in zip(images.astype(np.float32), labels, strict=True):
    slope, changed = np.asarray(slope_of(image, label)), image.copy()
    for place in np.ndindex(image.shape):
      changed[place] += epsilon * np.sign(slope[place])
      changed[place] = min(max(changed[place], 0.0), 255.0)
    found.append(changed)
  return np.stack(found)


def test_fgsm_is_a_plain_loop(attacked):
  trained, images, labels = attacked
  target = Target.of(trained)
  found, expected = fgsm(target, images, labels, 24), plain_fgsm(trained, images, labels, 24)
  # The sign of a slope that is zero but for rounding may differ.
  assert np.isclose(found, expected, atol=1e-3).mean() > 0.995
  correct = [
    (np.asarray(target.logits(jnp.asarray(x, jnp.float32))).argmax(-1) == labels).sum()
    for x in (images, found, expected)
  ]
  assert correct[1] == correct[2] < correct[0]


def test_attacks_keep_their_bounds_and_more_steps_do_more(attacked):
  trained, images, labels = attacked
  target = Target.of(trained)
  for found in (
    fgsm(target, images, labels, 16),
    pgd(target, images, labels, 16),
    pgd(target, images, labels, 16, key=jax.random.key(0)),
  ):
    assert np.abs(found - images).max() <= 16 + 1e-3
    assert found.min() >= 0
    assert found.max() <= 255
  table = accuracy_under_attack(target, images, labels, [0, 8, 24], batch_size=16)
  accuracy = table.pivot(index="epsilon", columns="attack", values="accuracy")
  clean = trained.task.results(*zip(*trained.predictions(images), strict=True)).probabilities
  assert (accuracy.loc[0] == (clean.argmax(-1) == labels).mean()).all()
  assert accuracy.loc[24, "fgsm"] < accuracy.loc[8, "fgsm"] <= accuracy.loc[0, "fgsm"]
  assert (accuracy["pgd"] <= accuracy["fgsm"]).all()
  with pytest.raises(ConfigError, match="epsilon from 0"):
    fgsm(target, images, labels, -1)
