"""Image files with annotated objects: what `coco:DIR` and `voc:DIR` have in common."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlab.data.features import BOX_CROWD, BOX_LABELS, Example, Feature, Features, fit_boxes
from cnnlab.data.folder import FolderSource
from cnnlab.data.images import BadImage, Size, decode_with_size
from cnnlab.errors import DataError, shown


class Box(NamedTuple):
  """An annotated object.

  Attributes:
    label: its class.
    edges: (ymin, xmin, ymax, xmax) in pixels of the image; pixel i lies between i and i + 1.
    crowd: whether it is a crowd, or too difficult to be counted.
  """

  label: int
  edges: tuple[float, float, float, float]
  crowd: bool = False


class Annotation(NamedTuple):
  """The objects of one image; none are allowed.

  Attributes:
    place: the file that has them, and the image in it, for errors.
    boxes: the objects.
    size: (height, width) of the image as annotated, None where it is not.
  """

  place: str
  boxes: tuple[Box, ...] = ()
  size: Size | None = None


@dataclasses.dataclass(frozen=True)
class AnnotatedSource:
  """One split of images with boxes.

  Attributes:
    kind: 'coco' or 'voc'.
    images: the files.
    annotations: of each image.
    class_names: by label.
    most: to how many boxes an image's are padded.
    crowds: whether the data set, of which this is a split, has crowds.
  """

  kind: str
  images: FolderSource
  annotations: tuple[Annotation, ...]
  class_names: tuple[str, ...]
  most: int
  crowds: bool
  parallel_reads: bool = True

  @property
  def name(self) -> str:
    """What errors call it."""
    return f"{self.kind}:{self.images.root}"

  @property
  def features(self) -> Features:
    """What its examples hold."""
    found = {
      "image": Feature("image", (None, None, 3), "uint8"),
      "boxes": Feature("boxes", (self.most, 4), "float32"),
      BOX_LABELS: Feature("vector", (self.most,), "int32", self.class_names),
    }
    return found | ({BOX_CROWD: Feature("vector", (self.most,), "bool")} if self.crowds else {})

  def __len__(self) -> int:
    return len(self.images)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    return None

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self.images.size()

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    objects = hashlib.sha256(repr(self.annotations).encode()).hexdigest()
    return [self.kind, self.class_names, self.most, self.crowds, self.images.fingerprint(), objects]

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with an image or its boxes."""
    return [self._read_one(int(index), size, channels) for index in indices]

  def _read_one(self, index: int, size: Size | None, channels: int) -> Example | BadImage:
    path = os.path.join(self.images.root, self.images.files[index])
    try:
      image, original = decode_with_size(path, size, channels)
    except BadImage as error:
      return error
    place, boxes, declared = self.annotations[index]
    if declared is not None and declared != original:
      return BadImage(
        place,
        f"the image has {declared[0]}x{declared[1]} pixels there, and {path} has "
        f"{original[0]}x{original[1]}, as its orientation shows it",
      )
    for number, box in enumerate(boxes, 1):
      if wrong := fault(box, original):
        return BadImage(place, f"object {number} ({shown(self.class_names[box.label])}) {wrong}")
    edges = np.array([box.edges for box in boxes], np.float32).reshape(-1, 4)
    inside = np.clip(edges, 0, [*original, *original])
    example = {"image": image}
    example |= fit_boxes("boxes", inside, self.features["boxes"], original, size)
    padding = (0, self.most - len(boxes))
    example[BOX_LABELS] = np.pad(np.array([box.label for box in boxes], np.int32), padding)
    if self.crowds:
      example[BOX_CROWD] = np.pad(np.array([box.crowd for box in boxes], bool), padding)
    return example


def fault(box: Box, size: Size) -> str:
  """Returns what is wrong with a box in an image of that (height, width); empty if nothing is.

  A box that is partly outside is no fault: it is clipped.
  """
  top, left, bottom, right = box.edges
  where = f"its box from (x, y) = ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
  if not all(map(math.isfinite, box.edges)):
    return f"{where} is not finite"
  if bottom < top or right < left:
    return f"{where} is inverted; allowed: from the upper left to the lower right"
  if bottom == top or right == left:
    return f"{where} has no area"
  if bottom <= 0 or right <= 0 or top >= size[0] or left >= size[1]:
    return f"{where} lies outside of the image of {size[0]}x{size[1]} (height x width) pixels"
  return ""


def sources_of(
  kind: str,
  splits: Sequence[tuple[str, Sequence[str], Sequence[Annotation]]],
  class_names: Sequence[str],
) -> AnnotatedSource | tuple[AnnotatedSource, AnnotatedSource]:
  """Returns the source of each split; all have the same features.

  Args:
    kind: 'coco' or 'voc'.
    splits: (folder of the images, their names in it, their annotations) of one or two splits.
    class_names: by label.

  Raises:
    DataError: a split has no image, or an image is missing.
  """
  each = [one.boxes for _, _, annotated in splits for one in annotated]
  most = max([1, *map(len, each)])
  crowds = any(box.crowd for boxes in each for box in boxes)
  found = []
  for root, files, annotated in splits:
    if not files:
      raise DataError(f"data.name: {kind}:{root} has no annotated image")
    for file, annotation in zip(files, annotated, strict=True):
      if not os.path.lexists(os.path.join(root, file)):
        raise DataError(f"{annotation.place}: the image {os.path.join(root, file)} does not exist")
    images = FolderSource(root, (), tuple(files), np.zeros(len(files), np.int32))
    found.append(AnnotatedSource(kind, images, tuple(annotated), tuple(class_names), most, crowds))
  return found[0] if len(found) == 1 else (found[0], found[1])
