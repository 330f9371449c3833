"""How many objects proposals find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Recall(NamedTuple):
  """Recall of proposals.

  Attributes:
    found: objects that a proposal overlaps enough.
    objects: all of them.
  """

  found: int
  objects: int

  @property
  def share(self) -> float:
    """Recall; NaN without objects."""
    return self.found / self.objects if self.objects else float("nan")


def recalled(proposals: np.ndarray, objects: np.ndarray, overlap: float = 0.5) -> np.ndarray:
  """Returns which objects have a proposal with an IoU of at least `overlap`, bool [m].

  Args:
    proposals: [n, 4].
    objects: [m, 4].
    overlap: least IoU.
  """
  low = np.maximum(proposals[:, None, :2], objects[None, :, :2])
  high = np.minimum(proposals[:, None, 2:], objects[None, :, 2:])
  shared = np.prod(np.maximum(high - low, 0), axis=-1)
  union = _areas(proposals)[:, None] + _areas(objects)[None] - shared
  return (shared >= overlap * union).any(axis=0, where=union > 0)


def recall(
  images: Iterable[tuple[np.ndarray, np.ndarray]], counts: Sequence[int], overlap: float = 0.5
) -> dict[int, Recall]:
  """Returns the recall of the first proposals of each image, by their number.

  Args:
    images: (proposals [n, 4], the first ones the best; objects [m, 4]) of each.
    counts: numbers of proposals.
    overlap: least IoU of a proposal that finds an object.
  """
  found, objects = dict.fromkeys(counts, 0), 0
  for proposals, own in images:
    objects += len(own)
    for count in counts:
      found[count] += int(recalled(proposals[:count], own, overlap).sum())
  return {count: Recall(found[count], objects) for count in counts}


def _areas(boxes: np.ndarray) -> np.ndarray:
  return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
