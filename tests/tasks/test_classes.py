"""The analysis of a classifier against scikit-learn and plain loops."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from cnnlab.metrics import Metric
from cnnlab.tasks import Classification, classes
from cnnlab.tasks.analysis import with_classes

RNG = np.random.default_rng(0)
NAMES = tuple("abcde")
LABEL = RNG.integers(0, 5, 300)
PREDICTION = np.where(RNG.random(300) < 0.7, LABEL, RNG.integers(0, 5, 300))
CONFIDENCE = RNG.uniform(0.2, 1, 300).astype(np.float32)
EXAMPLES = {"label": LABEL, "prediction": PREDICTION, "confidence": CONFIDENCE}


def test_each_class_has_scikit_learns_scores():
  table = classes.per_class(LABEL, PREDICTION, NAMES)
  for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
    np.testing.assert_allclose(table[name], score(LABEL, PREDICTION, average=None))
  assert table["errors"].sum() == (LABEL != PREDICTION).sum()
  assert list(table["examples"]) == list(np.bincount(LABEL))


def test_a_class_that_does_not_occur_has_no_recall():
  table = classes.per_class(np.array([0, 0]), np.array([0, 1]), NAMES[:3])
  assert np.isnan(table["recall"][2])
  assert table["precision"][1] == 0
  made = classes.analyze({"label": np.array([0, 0]), "prediction": np.array([0, 1]), "confidence": np.ones(2)}, NAMES[:3])  # fmt: skip
  assert list(made.tables["per_class"].shown["recall"]) == ["50.0", "–", "–"]


def test_confusions_are_counted():
  matrix = classes.confusion(LABEL, PREDICTION, NAMES)
  for i, row in enumerate(NAMES):
    for j, column in enumerate(NAMES):
      assert matrix.loc[row, column] == sum((i == LABEL) & (j == PREDICTION))
  pairs = classes.confused_pairs(matrix)
  assert pairs["examples"].is_monotonic_decreasing
  assert pairs["examples"].sum() == (LABEL != PREDICTION).sum()
  first = pairs.iloc[0]
  assert first["share"] == first["examples"] / np.bincount(LABEL)[NAMES.index(first["class"])]


def test_calibration_is_that_of_the_definition():
  """Guo et al., arXiv:1706.04599: bins ((m-1)/M, m/M], gaps weighted by their examples."""
  confidence = np.concatenate([CONFIDENCE, [1.0, 1 / 15, 3 / 15]]).astype(np.float64)
  correct = np.concatenate([LABEL == PREDICTION, [True, False, True]])
  bins = classes.calibration(confidence, correct)
  error = 0.0
  for m in range(1, 16):
    inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
    assert bins["examples"][m - 1] == inside.sum()
    if inside.any():
      gap = abs(correct[inside].mean() - confidence[inside].mean())
      error += inside.sum() / len(confidence) * gap
  assert classes.expected_calibration_error(bins) == pytest.approx(error)


def test_the_most_confident_mistakes_come_first():
  picks = classes.analyze(EXAMPLES, NAMES).picks
  indices = [pick.example for pick in picks]
  assert all(LABEL[i] != PREDICTION[i] for i in indices)
  assert CONFIDENCE[indices[0]] == CONFIDENCE[LABEL != PREDICTION].max()
  assert list(CONFIDENCE[indices]) == sorted(CONFIDENCE[indices], reverse=True)
  assert f"taken for {NAMES[PREDICTION[indices[0]]]}" in picks[0].caption


def test_many_classes_are_shown_in_part_and_saved_whole():
  names = [f"class {i}" for i in range(120)]
  label, prediction = RNG.integers(0, 120, (2, 500))
  made = classes.analyze(
    {"label": label, "prediction": prediction, "confidence": np.ones(500)}, names
  )
  assert len(made.tables["confusion"].frame) == 120
  assert len(made.tables["confusion"].shown) == classes.MOST_ROWS
  assert len(made.tables["per_class"].shown) == classes.MOST_ROWS
  assert not made.figures["confusion"]().axes[0].texts


def test_outputs_without_a_class_and_a_perfect_classifier():
  wide = classes.analyze(EXAMPLES | {"prediction": np.full(300, 7)}, NAMES)
  assert wide.examples["predicted_class"][0] == "output 7"
  perfect = classes.analyze(EXAMPLES | {"prediction": LABEL}, NAMES)
  assert perfect.picks == ()
  assert perfect.summary["mistakes"] == "0 of 300"
  assert Classification(NAMES).analyze({"error": np.zeros(3)}) is None


def test_metrics_of_single_classes_are_a_table_for_any_task():
  declared = (Metric("iou", "IoU", "%", 100.0, "max", per_class=True), Metric("error"))
  row = {"eval/iou/sky": 0.5, "eval/iou/road": None, "eval/error": 0.1, "eval/iou_mean": 0.5}
  made = with_classes(None, row, declared, {"error": np.zeros(3), "map": np.zeros((3, 2))})
  shown = made.tables["per_class"].shown
  assert list(shown["class"]) == ["sky", "road"]
  assert list(shown["IoU (%)"]) == ["50.00", "–"]
  assert list(made.examples.columns) == ["example", "error"]
  assert with_classes(None, {"eval/error": 0.1}, declared, {}) is None
  own = classes.analyze(EXAMPLES, NAMES)
  assert with_classes(own, row, declared, EXAMPLES) is own


@pytest.mark.parametrize(("count", "expected"), [(5, False), (6, True)])
def test_top_5_says_something_with_six_classes_or_more(count, expected):
  sums = {"cross_entropy": 1.0, "top1": 3.0, "top5": 4.0, "count": 5.0}
  assert ("top5" in Classification(tuple(map(str, range(count)))).summarize(sums)) == expected
