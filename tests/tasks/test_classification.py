"""Classification against scikit-learn and the formulas."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss, top_k_accuracy_score

from cnnlab.tasks import Classification

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 10)).astype(np.float32)
LABELS = RNG.integers(0, 10, 40).astype(np.int32)
TASK = Classification(tuple("abcdefghij"))


def sums(logits, labels, mask):
  return TASK.metric_sums(jnp.asarray(logits), {"label": jnp.asarray(labels)}, jnp.asarray(mask))


def test_metrics_are_scikit_learns():
  metrics = TASK.summarize(sums(LOGITS, LABELS, np.ones(40, np.float32)))
  probabilities = scipy.special.softmax(LOGITS, axis=-1)
  classes = range(10)
  top = [top_k_accuracy_score(LABELS, probabilities, k=k, labels=classes) for k in (1, 5)]
  assert metrics["top1"] == pytest.approx(top[0])
  assert metrics["top5"] == pytest.approx(top[1])
  assert metrics["error"] == pytest.approx(1 - top[0])
  assert metrics["cross_entropy"] == pytest.approx(
    log_loss(LABELS, probabilities, labels=classes), rel=1e-5
  )
  assert metrics["count"] == 40


def test_masked_examples_count_for_nothing_even_if_not_finite():
  logits = np.concatenate([LOGITS, np.full((3, 10), np.nan, np.float32)])
  labels = np.concatenate([LABELS, np.zeros(3, np.int32)])
  mask = np.r_[np.ones(40), np.zeros(3)].astype(np.float32)
  padded, plain = sums(logits, labels, mask), sums(LOGITS, LABELS, np.ones(40, np.float32))
  for name, value in plain.items():
    np.testing.assert_allclose(padded[name], value, rtol=1e-6)


def test_logits_that_are_not_finite_are_no_hit():
  found = sums(np.full((2, 10), np.nan, np.float32), np.zeros(2, np.int32), np.ones(2, np.float32))
  assert found["top1"] == 0
  assert found["top5"] == 0


def test_equal_logits_are_no_free_hit():
  found = sums(
    np.zeros((10, 10), np.float32), np.arange(10, dtype=np.int32), np.ones(10, np.float32)
  )
  assert found["top1"] == 1, "as argmax: the first class wins"
  assert found["top5"] == 5


def test_smoothing_spreads_the_mass_over_all_classes():
  task = Classification(tuple("abcdefghij"), label_smoothing=0.2)
  got = task.example_losses(jnp.asarray(LOGITS), {}, {"label": jnp.asarray(LABELS)})
  log_probabilities = scipy.special.log_softmax(LOGITS, axis=-1)
  target = np.full((40, 10), 0.02)
  target[np.arange(40), LABELS] += 0.8
  np.testing.assert_allclose(got, -(target * log_probabilities).sum(-1), rtol=1e-5)


def test_auxiliary_classifiers_add_their_weighted_loss():
  batch = {"label": jnp.asarray(LABELS)}
  logits = jnp.asarray(LOGITS)
  alone, other = TASK.example_losses(logits, {}, batch), TASK.example_losses(-logits, {}, batch)
  both = TASK.example_losses(logits, {"auxiliary_logits": (-logits, -logits)}, batch)
  np.testing.assert_allclose(both, alone + 0.6 * other, rtol=1e-5)


def test_smoothing_of_mixed_labels_smooths_the_mixture():
  task = Classification(tuple("abcdefghij"), label_smoothing=0.2)
  mixed = np.full((40, 10), 0.0, np.float32)
  mixed[np.arange(40), LABELS] += 0.7
  mixed[np.arange(40), (LABELS + 3) % 10] += 0.3
  got = task.example_losses(jnp.asarray(LOGITS), {}, {"label": jnp.asarray(mixed)})
  log_probabilities = scipy.special.log_softmax(LOGITS, axis=-1)
  np.testing.assert_allclose(got, -((0.8 * mixed + 0.02) * log_probabilities).sum(-1), rtol=1e-5)


def test_the_loss_weighs_examples_alike():
  batch = {"label": jnp.asarray(LABELS)}
  total, weight = TASK.loss(jnp.asarray(LOGITS), {}, batch, {})
  assert weight == 40
  assert float(total) / weight == pytest.approx(
    float(TASK.example_losses(jnp.asarray(LOGITS), {}, batch).mean()), rel=1e-6
  )


def test_predictions_read_as_names():
  prediction = {"probabilities": np.asarray(TASK.predict(LOGITS)["probabilities"][0])}
  best = "abcdefghij"[int(LOGITS[0].argmax())]
  assert TASK.describe(prediction, 2)[0].startswith(f"{best} ")
  assert sum(TASK.to_json(prediction)["probabilities"].values()) == pytest.approx(1)
