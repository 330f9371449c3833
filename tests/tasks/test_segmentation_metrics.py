"""Scores of label maps against scikit-learn, and boundaries against loops and SciPy's distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from cnnlab.tasks import segmentation_metrics as measures
from cnnlab.tasks.segmentation_losses import IGNORED

RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 4, (3, 20, 25)).astype(np.int32)
PREDICTIONS = np.where(RNG.random(LABELS.shape) < 0.6, LABELS, RNG.integers(0, 4, LABELS.shape))
LABELS[:, :4] = IGNORED
COUNTED = LABELS != IGNORED
NAMES = tuple("abcd")


def words(labels, predictions, classes=4):
  found = jax.jit(measures.confusion_words, static_argnums=2)
  return np.asarray(found(labels, predictions.astype(np.int32), classes))


def test_the_matrix_and_its_scores_are_scikit_learns():
  matrix = measures.confusion_matrix(words(LABELS, PREDICTIONS))
  true, predicted = LABELS[COUNTED], PREDICTIONS[COUNTED]
  np.testing.assert_array_equal(matrix, confusion_matrix(true, predicted))
  scores = measures.scores(matrix, NAMES)
  each = jaccard_score(true, predicted, average=None)
  assert list(scores["iou"].values()) == pytest.approx(each.tolist())
  assert scores["miou"] == pytest.approx(each.mean())
  assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(true, predicted))
  assert scores["mean_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
  assert scores["absent_classes"] == 0


def test_sums_are_exact_where_float32_and_int32_are_not():
  one = words(np.zeros((1, 1, 1), np.int32), np.ones((1, 1, 1)), 2)
  many = words(np.zeros((1, 300, 300), np.int32), np.zeros((1, 300, 300)), 2)
  step = jax.jit(lambda sums: jax.tree.map(jnp.add, sums, jnp.asarray(many)))
  sums = jnp.asarray(one)
  for _ in range(400):
    sums = step(sums)
  assert measures.confusion_matrix(sums).tolist() == [[400 * 90_000, 1], [0, 0]]
  assert np.float32(400 * 90_000 + 1) == 400 * 90_000
  largest = np.full((2, 1, 1), 65_536 * 65_535, np.uint32)  # of 65,536 batches, each word full
  assert measures.confusion_matrix(largest).item() == 65_536 * 65_535 * (1 + 65_536)


def test_absent_classes_are_left_out_and_counted():
  scores = measures.scores(np.array([[4, 0, 1], [0, 0, 0], [0, 0, 0]]), tuple("abc"))
  assert scores["iou"] == {"a": 0.8, "b": None, "c": 0.0}  # c was predicted: it is no absent class
  assert scores["absent_classes"] == 1
  assert scores["miou"] == pytest.approx(0.4)
  assert scores["mean_accuracy"] == pytest.approx(0.8)
  nothing = measures.scores(np.zeros((2, 2), np.int64), tuple("ab"))
  assert nothing["miou"] is nothing["pixel_accuracy"] is nothing["mean_accuracy"] is None
  assert nothing["absent_classes"] == 2


def naive_boundary(labels, index):
  """Whether each pixel has the class and a neighbor of another, by a loop."""
  found = np.zeros(labels.shape, bool)
  for y, x in np.ndindex(labels.shape):
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
      a, b = y + down, x + right
      inside = 0 <= a < labels.shape[0] and 0 <= b < labels.shape[1]
      if labels[y, x] == index and inside and labels[a, b] not in (index, 255):
        found[y, x] = True
  return found


def reference(labels, predictions, classes, radius):
  """The boundary F-score by SciPy's exact distances to the nearest boundary pixel."""
  scores = [[] for _ in range(classes)]
  for truth, predicted in zip(labels, predictions, strict=True):
    predicted = np.where(truth == 255, 255, predicted)
    for index in range(classes):
      a, b = naive_boundary(truth, index), naive_boundary(predicted, index)
      if not a.any() and not b.any():
        continue
      if not a.any() or not b.any():
        scores[index].append(0.0)
        continue
      precision = (scipy.ndimage.distance_transform_edt(~a)[b] <= radius).mean()
      recall = (scipy.ndimage.distance_transform_edt(~b)[a] <= radius).mean()
      total = precision + recall
      scores[index].append(2 * precision * recall / total if total else 0.0)
  return np.mean([np.mean(one) for one in scores if one])


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_boundary_score_is_that_of_exact_distances(radius):
  smooth = scipy.ndimage.gaussian_filter(RNG.normal(size=(4, 24, 31, 5)), (0, 3, 3, 0))
  moved = smooth + scipy.ndimage.gaussian_filter(RNG.normal(size=smooth.shape), (0, 2, 2, 0)) * 0.5
  labels, predictions = smooth.argmax(-1).astype(np.uint8), moved.argmax(-1).astype(np.uint8)
  labels[labels == 4] = 3  # class 4 is in the predictions alone
  labels[:, :5, :9] = 255
  score = measures.BoundaryScore(6, tolerance=(radius - 0.5) / np.hypot(24, 31))
  for part in (slice(0, 3), slice(3, 4)):
    score.add({"labels": labels[part], "predictions": predictions[part]})
  want = reference(labels, predictions, 6, radius)
  assert 0.2 < want < 0.95
  assert score.result()["boundary_f"] == pytest.approx(want, rel=1e-9)


def test_boundary_score_of_the_truth_is_1_and_of_nothing_undefined():
  labels = LABELS[:1, 4:].astype(np.uint8)
  score = measures.BoundaryScore(4, 0.0075)
  assert score.result() == {"boundary_f": None}
  score.add({"labels": labels, "predictions": labels})
  assert score.result() == {"boundary_f": 1.0}
