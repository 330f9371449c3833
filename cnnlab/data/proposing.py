"""A data set whose images come with proposals: boxes that may show an object."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.data.features import Example, Feature, Features, fit_boxes
from cnnlab.data.images import BadImage, Size
from cnnlab.data.sources import Source, image_feature
from cnnlab.errors import DataError
from cnnlab.proposals.selective_search import selective_search

PROPOSALS = "proposals"
VERSION = 1  # of the boxes that selective search gives


@dataclasses.dataclass(frozen=True)
class ProposingSource:
  """Another source with the proposals of selective search, made of the images as they are stored.

  Attributes:
    source: the other one.
    most: number of proposals of an image.
  """

  source: Source
  most: int
  parallel_reads: bool = False

  @property
  def name(self) -> str:
    """What errors call it."""
    return self.source.name

  @property
  def features(self) -> Features:
    """What its examples hold."""
    return {**self.source.features, PROPOSALS: Feature("boxes", (self.most, 4), "float32")}

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self.source.size()

  def __len__(self) -> int:
    return len(self.source)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    return self.source.labels()

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    found, image = self.source.read(indices, size, channels), image_feature(self.source)
    feature = self.features[PROPOSALS]
    for example in found:
      if not isinstance(example, BadImage):
        boxes = selective_search(example[image], self.most)
        example |= fit_boxes(PROPOSALS, boxes, feature, None, None)
    return found

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    inner = self.source.fingerprint()
    return None if inner is None else ["selective search", VERSION, self.most, inner]


def proposing(opened: Source | tuple[Source, Source], most: int) -> Source | tuple[Source, Source]:
  """Returns a source, or those of two splits, with up to `most` proposals for each image.

  Raises:
    DataError: there are no boxes to be found.
  """
  if isinstance(opened, tuple):
    return _proposing(opened[0], most), _proposing(opened[1], most)
  return _proposing(opened, most)


def _proposing(source: Source, most: int) -> ProposingSource:
  if all(feature.kind != "boxes" for feature in source.features.values()):
    raise DataError(
      f"data.proposals is {most}, but {source.name} has no boxes to be found: leave it out"
    )
  return ProposingSource(source, most)
