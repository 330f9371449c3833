"""Verification and few-shot accuracy against scikit-learn, plain counts and loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestCentroid

from cnnlab.errors import DataError
from cnnlab.tasks import verification

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(12), 8)
EMBEDDINGS = RNG.normal(size=(96, 6)) + 0.8 * RNG.normal(size=(12, 6))[LABELS]


def all_pairs():
  i, j = np.triu_indices(len(LABELS), 1)
  return LABELS[i] == LABELS[j], np.linalg.norm(EMBEDDINGS[i] - EMBEDDINGS[j], axis=1)


def test_verification_against_scikit_learn_and_plain_counts():
  same, apart = all_pairs()
  roc = verification.verify(EMBEDDINGS, LABELS)
  assert roc.pairs == len(same) == 96 * 95 // 2
  assert roc.auc == pytest.approx(roc_auc_score(same, -apart))
  rejected, accepted = (apart[same] > roc.distance).mean(), (apart[~same] <= roc.distance).mean()
  assert roc.equal_error == pytest.approx(rejected, abs=1 / same.sum())
  assert roc.equal_error == pytest.approx(accepted, abs=1 / same.sum())
  assert 0.1 < roc.equal_error < 0.5
  for at in (len(roc.thresholds) // 3, len(roc.thresholds) // 2):
    assert roc.false[at] == pytest.approx((apart[~same] <= roc.thresholds[at]).mean())
    assert roc.true[at] == pytest.approx((apart[same] <= roc.thresholds[at]).mean())


def test_classes_far_from_each_other_have_no_error():
  roc = verification.verify(10 * np.eye(12)[LABELS] + 0.01 * RNG.normal(size=(96, 12)), LABELS)
  assert roc.auc == 1
  assert roc.equal_error == pytest.approx(0, abs=1e-12)
  assert 0 < roc.distance < 14


def test_equal_embeddings_tell_nothing():
  roc = verification.verify(np.zeros((96, 3)), LABELS)
  assert roc.auc == pytest.approx(0.5)
  assert roc.equal_error == pytest.approx(0.5)


def test_episodes_are_a_fixed_list_without_repetition():
  episodes = verification.draw_episodes(LABELS, 5, 3, 50)
  assert episodes.support.shape == (50, 5, 3)
  for support, queries in zip(*episodes, strict=True):
    assert (LABELS[support] == LABELS[queries][:, None]).all()
    assert len(set(LABELS[queries].tolist())) == 5
    assert len({*support.ravel().tolist(), *queries.tolist()}) == 20
  again = verification.draw_episodes(LABELS, 5, 3, 50)
  np.testing.assert_array_equal(again.support, episodes.support)
  assert (again.support[0] != again.support[1]).any()


@pytest.mark.parametrize("shots", [1, 3])
def test_few_shot_accuracy_against_scikit_learn(shots):
  episodes = verification.draw_episodes(LABELS, 6, shots, 40)
  hits = []
  for support, queries in zip(*episodes, strict=True):
    flat = support.ravel()
    model = NearestCentroid().fit(EMBEDDINGS[flat], LABELS[flat])
    hits.append(model.predict(EMBEDDINGS[queries]) == LABELS[queries])
  found = verification.accuracy(EMBEDDINGS, episodes)
  assert found == pytest.approx(np.mean(hits))
  assert 0.2 < found < 1


def test_too_few_classes_or_examples_are_told():
  with pytest.raises(DataError, match="has 12 classes of more than 1 examples"):
    verification.draw_episodes(LABELS, 13, 1, 3)
  with pytest.raises(DataError, match="are 5 and 8; the evaluation split has 0 classes"):
    verification.draw_episodes(LABELS, 5, 8, 3)
  with pytest.raises(DataError, match="1 classes in 96 examples"):
    verification.verify(EMBEDDINGS, np.zeros(96, int))


def test_metrics_come_in_batches_and_embeddings_that_are_not_finite_are_worthless():
  found = []
  for embeddings in (EMBEDDINGS, np.full_like(EMBEDDINGS, np.nan)):
    measure = verification.Evaluation(6, 1, 40)
    for part in (slice(0, 50), slice(50, 96)):
      measure.add({
        "embedding": embeddings[part], "label": LABELS[part], "pixels": EMBEDDINGS[part],
      })  # fmt: skip
    found.append(measure.result())
  assert found[0]["accuracy"] == found[0]["pixel_accuracy"]
  assert found[0]["eer"] == verification.verify(EMBEDDINGS, LABELS).equal_error
  assert found[1]["auc"] == pytest.approx(0.5)
  assert found[1]["accuracy"] <= 1 / 6


def test_the_figure_marks_the_equal_error():
  roc = verification.verify(EMBEDDINGS, LABELS)
  left, right = verification.roc_figure(roc).axes
  np.testing.assert_allclose(left.lines[1].get_xydata(), [[roc.equal_error, 1 - roc.equal_error]])
  assert right.lines[2].get_xdata()[0] == roc.distance
