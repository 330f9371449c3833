"""Mean average precision by pycocotools and our own VOC form, against loops; what has no truth."""

import numpy as np
import pytest

from cnnlab.tasks.detection_analysis import KINDS, analyze, judged
from cnnlab.tasks.detection_metrics import (
  Scores,
  average_precision,
  coco_scores,
  images_of,
  precision_recall,
)
from tests.tasks import detection_naive as naive

NAMES = ("red", "white", "platelet")
LIMITS = (12.0, 25.0)


@pytest.mark.parametrize("seed", range(3))
def test_coco_s_averages_are_those_of_a_loop(seed):
  rows = naive.rows(np.random.default_rng(seed))
  found = coco_scores(rows, NAMES, LIMITS)

  def mean(thresholds, low=0.0, high=1e9, labels=range(3)):
    each = [naive.coco_ap(rows, label, t, low, high) for t in thresholds for label in labels]
    known = [value for value in each if value is not None]
    return np.mean(known) if known else None

  every = np.linspace(0.5, 0.95, 10)
  assert found["map"] == pytest.approx(mean(every), abs=1e-6)
  assert found["map50"] == pytest.approx(mean([0.5]), abs=1e-6)
  assert found["map75"] == pytest.approx(mean([0.75]), abs=1e-6)
  for size, low, high in (("small", 0, 12), ("medium", 12, 25), ("large", 25, 1e9)):
    assert found[f"map_{size}"] == pytest.approx(mean(every, low, high), abs=1e-6)
  for label, name in enumerate(NAMES):
    assert found["ap"][name] == pytest.approx(mean(every, labels=[label]), abs=1e-6)
  assert 0 < found["map"] < found["map50"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_voc_s_average_precision_is_that_of_a_loop(seed):
  rows = naive.rows(np.random.default_rng(10 + seed))
  rows["scores"] = np.random.default_rng(seed).permutation(rows["scores"].size).reshape(
    rows["scores"].shape
  ) / np.float32(rows["scores"].size)
  for label in range(3):
    curve = precision_recall(rows, label)
    assert average_precision(curve) == pytest.approx(naive.voc_ap(rows, label), abs=1e-6)
    assert (np.diff(curve.recall) >= 0).all()


def test_a_split_in_batches_is_scored_as_a_whole():
  rows = naive.rows(np.random.default_rng(3))
  whole, parts = Scores(NAMES, LIMITS), Scores(NAMES, LIMITS)
  whole.add(rows)
  for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
    parts.add({name: array[part] for name, array in rows.items()})
  assert parts.result() == whole.result()


def test_images_without_objects_and_without_boxes():
  rows = naive.rows(np.random.default_rng(4))
  nothing = {**rows, "true_valid": np.zeros_like(rows["true_valid"])}
  scores = Scores(NAMES, LIMITS)
  scores.add(nothing)
  found = scores.result()
  assert found.pop("ap") == dict.fromkeys(NAMES)
  assert set(found.values()) == {None}
  blind = Scores(NAMES, LIMITS)
  blind.add({**rows, "valid": np.zeros_like(rows["valid"])})
  found = blind.result()
  assert found["map"] == found["voc_map"] == found["recall"] == 0


def test_perfect_boxes_score_one():
  rows = naive.rows(np.random.default_rng(5))
  rows["true_crowd"][:] = False
  names = {"boxes": "true_boxes", "labels": "true_labels", "valid": "true_valid"}
  best = rows | {ours: rows[theirs] for ours, theirs in names.items()}
  best["scores"] = np.ones(best["valid"].shape, np.float32)
  scores = Scores(NAMES, LIMITS)
  scores.add(best)
  found = scores.result()
  assert found["map"] == found["voc_map"] == found["recall"] == pytest.approx(1)


def test_wrong_boxes_are_told_apart():
  def one(boxes, labels):
    return {
      "true_boxes": np.array([[[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]]], np.float32),
      "true_labels": np.array([[0, 1, 1]]),
      "true_valid": np.ones((1, 3), bool),
      "true_crowd": np.array([[False, False, True]]),
      "boxes": np.array([boxes], np.float32),
      "scores": np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)[None],
      "labels": np.array([labels]),
      "valid": np.ones((1, len(boxes)), bool),
    }

  boxes = [
    [0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 40, 40], [20, 20, 40, 25], [0, 30, 10, 40], [50, 50, 60, 60]
  ]  # fmt: skip
  rows = one(boxes, [0, 0, 2, 1, 0, 1])
  (image,) = images_of(rows)
  objects, kinds = judged(image, 0.5)
  assert [found for _, found in objects] == [True, False]
  assert [kind for _, kind in kinds] == ["correct", "duplicate", "class", "place", "background"]
  assert len(judged(image, 0.85)[1]) == 1
  analysis = analyze(rows, NAMES, LIMITS, 0.5)
  sizes = analysis.tables["sizes"].frame.set_index("size")
  assert sizes.loc["all", ["objects", "found", *KINDS]].tolist() == [2, 1, 1, 1, 1, 1, 1]
  assert sizes.loc["small", "objects"] == sizes.loc["medium", "objects"] == 1
  assert sizes.loc["all", "recall"] == 0.5
  curves = analysis.tables["curves"].frame.set_index("class")
  assert curves.loc["red", "ap"] == pytest.approx(1)
  assert analysis.examples["found"].tolist() == [1]
  figure = analysis.figures["curves"]()
  assert len(figure.axes[0].lines) == 2, "the third class has no object"
