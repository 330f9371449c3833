"""Scores of label maps: an exact confusion matrix over a whole split, and boundaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnnlab.tasks.base import MetricValue
from cnnlab.tasks.segmentation_losses import IGNORED

_BITS = 16  # of the lower of the two words in which sums are kept


def confusion_words(labels: Array, predictions: Array, classes: int) -> Array:
  """Returns how many pixels of each class were predicted as each class; traceable.

  Counts are whole numbers in two words, uint32 [2, classes, classes]: the lower 16 bits and the
  rest. Their sums over 65,536 batches are exact, of up to 2^47 pixels; float32 would not be beyond
  2^24, nor int32 beyond 2^31.

  Args:
    labels: int32 [batch, height, width], `IGNORED` where a pixel does not count.
    predictions: int32, alike.
    classes: number of them.
  """
  cell = jnp.where(labels == IGNORED, classes**2, labels * classes + predictions)
  counts = jnp.bincount(cell.ravel(), length=classes**2 + 1)[:-1].astype(jnp.uint32)
  counts = counts.reshape(classes, classes)
  return jnp.stack([counts & (2**_BITS - 1), counts >> _BITS])


def confusion_matrix(words: Array | np.ndarray) -> np.ndarray:
  """Returns int64 [true class, predicted class] from summed `confusion_words`."""
  low, high = np.asarray(words).astype(np.int64)
  return (high << _BITS) + low


def scores(confusion: np.ndarray, names: Sequence[str]) -> dict[str, MetricValue]:
  """Returns pixel accuracy, mean accuracy, mean IoU and the IoU of each class, as fractions.

  Accuracies are of the classes that occur in the truth; the IoU is of those that occur in the truth
  or the predictions. The others are left out of the means: their own IoU is None, and
  `absent_classes` is their number. Everything is None where no pixel has a label.

  Args:
    confusion: int64 [true class, predicted class].
    names: of the classes.
  """
  hits, true = np.diag(confusion), confusion.sum(axis=1)
  union = true + confusion.sum(axis=0) - hits
  iou = [int(h) / int(u) if u else None for h, u in zip(hits, union, strict=True)]
  accuracies = [int(h) / int(t) for h, t in zip(hits, true, strict=True) if t]
  return {
    "pixel_accuracy": int(hits.sum()) / int(true.sum()) if accuracies else None,
    "mean_accuracy": mean(accuracies),
    "miou": mean(iou),
    "absent_classes": iou.count(None),
    "iou": dict(zip(names, iou, strict=True)),
  }


def mean(values: Sequence[float | None]) -> float | None:
  """Returns the mean of the values that are defined; None if there is none."""
  known = [value for value in values if value is not None]
  return math.fsum(known) / len(known) if known else None


class BoundaryScore:
  """The boundary F-score of Csurka et al. ("What is a good evaluation measure", BMVC 2013).

  A boundary pixel of a class has that class and a neighbor of another, above, below or beside it.
  Precision is the share of the predicted boundary within `tolerance` of the true one, recall the
  reverse. Their harmonic mean is averaged over the images in which a class has a boundary, true or
  predicted, and then over classes. Ignored pixels are no boundary and no neighbors.

  Args:
    classes: number of them.
    tolerance: fraction of an image's diagonal; the distance in pixels is rounded up.
  """

  def __init__(self, classes: int, tolerance: float):
    self.tolerance = tolerance
    self._sums = np.zeros(classes)
    self._images = np.zeros(classes, np.int64)

  def add(self, rows: Mapping[str, np.ndarray]) -> None:
    """Takes uint8 'labels' and 'predictions' [n, height, width]; 255 is ignored."""
    height, width = rows["labels"].shape[1:]
    radius = math.ceil(self.tolerance * math.hypot(height, width))
    disc = _disc(radius)
    for labels, predictions in zip(rows["labels"], rows["predictions"], strict=True):
      predictions = np.where(labels == 255, 255, predictions).astype(np.uint8)
      borders = boundaries(labels), boundaries(predictions)
      for index in range(len(self._sums)):
        true, predicted = (
          ((border & (one == index)).view(np.uint8))
          for border, one in zip(borders, (labels, predictions), strict=True)
        )
        self._add_one(index, true, predicted, disc)

  def _add_one(self, index: int, true: np.ndarray, predicted: np.ndarray, disc: np.ndarray) -> None:
    count_true, count_predicted = int(true.sum()), int(predicted.sum())
    if not count_true and not count_predicted:
      return
    self._images[index] += 1
    if count_true and count_predicted:
      precision = int((predicted & cv2.dilate(true, disc)).sum()) / count_predicted
      recall = int((true & cv2.dilate(predicted, disc)).sum()) / count_true
      if precision + recall:
        self._sums[index] += 2 * precision * recall / (precision + recall)

  def result(self) -> dict[str, MetricValue]:
    """Returns `boundary_f`; None where no class has a boundary."""
    each = [float(s / n) if n else None for s, n in zip(self._sums, self._images, strict=True)]
    return {"boundary_f": mean(each)}


def boundaries(labels: np.ndarray) -> np.ndarray:
  """Returns whether each pixel of a label map has a neighbor of another class, bool [h, w].

  Neighbors share an edge. 255 is no class: neither such pixels nor those beside them alone count.
  """
  found = np.zeros(labels.shape, bool)
  for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
    differ = (labels[first] != labels[second]) & (labels[first] != 255) & (labels[second] != 255)
    found[first] |= differ
    found[second] |= differ
  return found


def _disc(radius: int) -> np.ndarray:
  """Returns the pixels within a distance of the center, uint8 [2 radius + 1, 2 radius + 1]."""
  offsets = np.arange(-radius, radius + 1)
  return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
