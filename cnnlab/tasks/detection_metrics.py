"""Scores of boxes over a whole split: COCO's by pycocotools, and PASCAL VOC's average precision.

Rows are those of `Detection.collect`, NumPy arrays with the examples first:

  true_boxes [n, most, 4], true_labels [n, most], true_valid [n, most], true_crowd [n, most]
  boxes [n, found, 4], scores [n, found], labels [n, found], valid [n, found]

Labels count the classes from 0. Boxes are in pixels of the network's input, which is the unit of sizes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlab.errors import ConfigError
from cnnlab.tasks.base import MetricValue

Rows = Mapping[str, np.ndarray]
SIZES = ("small", "medium", "large")
OVERLAP = 0.5  # IoU from which a box counts as found


def coco_eval() -> tuple[Any, Any]:
  """Returns pycocotools' COCO and COCOeval.

  Raises:
    ConfigError: it is not installed.
  """
  try:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
  except ImportError as error:
    raise ConfigError(
      f"task 'detection' computes its metrics by pycocotools ({error}); to install it: "
      "pip install 'cnnlab[detection]'"
    ) from error
  return COCO, COCOeval


class Scores:
  """Mean average precision over a split.

  Args:
    names: of the classes.
    size_limits: sides in pixels; the square of the first is the largest area of a small object, that
      of the second the largest of a medium one.
  """

  def __init__(self, names: Sequence[str], size_limits: tuple[float, float]):
    self._names, self._limits = names, size_limits
    self._parts: list[Rows] = []

  def add(self, rows: Rows) -> None:
    """Takes the rows of a batch."""
    self._parts.append(rows)

  def result(self) -> dict[str, MetricValue]:
    """Returns the metrics; None where there is no object to find."""
    rows = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
    return coco_scores(rows, self._names, self._limits) | {
      "voc_map": voc_map(rows, len(self._names))
    }


def coco_scores(
  rows: Rows, names: Sequence[str], size_limits: tuple[float, float]
) -> dict[str, MetricValue]:
  """Returns COCO's averages: AP at IoU 0.5 to 0.95, 0.5 and 0.75, by size and class, and recall.

  An area is that of the box, where COCO has that of the object's outline. A value is None where
  there is no object to find.
  """
  coco, evaluator = coco_eval()
  small, large = (float(side) ** 2 for side in size_limits)
  truth: list[dict[str, Any]] = []
  found: list[dict[str, Any]] = []
  for image, one in enumerate(images_of(rows), start=1):
    for box, label, crowd in one.truth():
      truth.append(_annotation(image, box, label) | {"iscrowd": int(crowd), "id": len(truth) + 1})
    for box, label, score in one.found():
      found.append(_annotation(image, box, label) | {"score": float(score), "id": len(found) + 1})
  shared = {
    "images": [{"id": i + 1} for i in range(len(rows["valid"]))],
    "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
  }
  with contextlib.redirect_stdout(io.StringIO()):
    sets = [coco(), coco()]
    for one, annotations in zip(sets, (truth, found), strict=True):
      one.dataset = {**shared, "annotations": annotations}
      one.createIndex()
    run = evaluator(*sets, "bbox")
    run.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
    run.evaluate()
    run.accumulate()
  # [IoU, recall, class, area, detections of an image] and [IoU, class, area, detections]
  precision, recall = run.eval["precision"][..., -1], run.eval["recall"][..., 0, -1]
  each = [_mean(precision[:, :, i, 0]) for i in range(len(names))]
  by_size = {f"map_{size}": _mean(precision[..., i]) for i, size in enumerate(SIZES, start=1)}
  return {
    "map": _mean(precision[..., 0]),
    "map50": _mean(precision[0, ..., 0]),
    "map75": _mean(precision[5, ..., 0]),
    **by_size,
    "recall": _mean(recall),
    "ap": dict(zip(names, each, strict=True)),
  }


def voc_map(rows: Rows, classes: int) -> float | None:
  """Returns the mean over classes of `average_precision`, as PASCAL VOC has had it since 2010."""
  curves = (precision_recall(rows, label) for label in range(classes))
  each = [average_precision(curve) for curve in curves if curve.objects]
  return float(np.mean(each)) if each else None


class Curve(NamedTuple):
  """Precision and recall of a class as the score that counts as found decreases.

  Attributes:
    scores, precision, recall: [n].
    objects: number of objects that should be found.
  """

  scores: np.ndarray
  precision: np.ndarray
  recall: np.ndarray
  objects: int


def precision_recall(rows: Rows, label: int) -> Curve:
  """Returns the curve of a class by VOC's rules, at an IoU of 0.5.

  A box belongs to the object that it overlaps most; another one of the same object is wrong. Crowds
  and difficult objects are neither right nor wrong (devkit of PASCAL VOC, section 4.4).
  """
  scores, right, objects = [], [], 0
  for one in images_of(rows):
    own = one.true_valid & (one.true_labels == label)
    truth, crowd = one.true_boxes[own], one.true_crowd[own]
    objects += int((~crowd).sum())
    taken = np.zeros(len(truth), bool)
    mine = np.flatnonzero(one.valid & (one.labels == label))
    for index in mine[np.argsort(-one.scores[mine], kind="stable")]:
      overlaps = box_iou(one.boxes[index], truth)
      best = int(overlaps.argmax()) if len(truth) else -1
      hit = best >= 0 and overlaps[best] >= OVERLAP
      if hit and crowd[best]:
        continue
      scores.append(float(one.scores[index]))
      right.append(hit and not taken[best])
      taken[best : best + 1] |= hit
  order = np.argsort(-np.array(scores), kind="stable")
  hits = np.cumsum(np.array(right, bool)[order])
  count = np.arange(1, len(hits) + 1)
  return Curve(np.array(scores)[order], hits / count, hits / max(objects, 1), objects)


def average_precision(curve: Curve) -> float:
  """Returns the area under a curve, where precision is the best at that recall or more."""
  best = np.maximum.accumulate(curve.precision[::-1])[::-1]
  return float(np.sum(np.diff(curve.recall, prepend=0.0) * best))


def box_iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
  """Returns the IoU [n] of a box [4] with others [n, 4]."""
  sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
  shared = np.prod(np.maximum(sides, 0), axis=1)
  areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
  return shared / np.maximum(areas - shared, 1e-9)


class ImageRows(NamedTuple):
  """The rows of one image; see the module."""

  true_boxes: np.ndarray
  true_labels: np.ndarray
  true_valid: np.ndarray
  true_crowd: np.ndarray
  boxes: np.ndarray
  scores: np.ndarray
  labels: np.ndarray
  valid: np.ndarray

  def truth(self) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Yields box, label, and whether it is a crowd, of each true box."""
    for i in np.flatnonzero(self.true_valid):
      yield self.true_boxes[i], int(self.true_labels[i]), bool(self.true_crowd[i])

  def found(self) -> Iterator[tuple[np.ndarray, int, float]]:
    """Yields box, label and score of each box that was found."""
    for i in np.flatnonzero(self.valid):
      yield self.boxes[i], int(self.labels[i]), float(self.scores[i])


def images_of(rows: Rows) -> Iterator[ImageRows]:
  """Yields the rows of each image."""
  for values in zip(*(rows[name] for name in ImageRows._fields), strict=True):
    yield ImageRows(*values)


def _annotation(image: int, box: np.ndarray, label: int) -> dict[str, Any]:
  top, left, bottom, right = map(float, box)
  height, width = bottom - top, right - left
  return {
    "image_id": image,
    "category_id": label,
    "bbox": [left, top, width, height],
    "area": height * width,
    "iscrowd": 0,
  }


def _mean(values: np.ndarray) -> float | None:
  """Returns the mean of what is defined, which pycocotools marks by -1 where it is not."""
  known = values[values > -1]
  return float(known.mean()) if known.size else None
