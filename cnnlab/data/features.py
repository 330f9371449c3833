"""What the arrays of an example are: a kind for each, and what follows from it.

How an array is fitted to a size, stored in batches, and moved by geometry depends on its kind alone,
so that reading, caching, batching and augmentation work for any set of features:

  image      uint8 [height, width, channels]; bilinear
  label      int32, one of `names`
  point      int32, a place in the image as row * width + column
  label_map  uint8 [height, width] of classes; nearest, `IGNORED_LABEL` where there is none
  boxes      float32 [most, 4] as (ymin, xmin, ymax, xmax) in pixels of the image, padded to `most`;
             `<name>_valid`, bool [most], tells which are boxes. Their classes are the vector
             `box_labels`, int32 [most]; where a data set has boxes that do not count, such as
             COCO's crowds and VOC's difficult objects, `box_crowd`, bool [most], marks them
  vector     numbers of a fixed shape
  array      the same, for anything else; neither is changed
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from cnnlab.data.images import Size, fit_array, source_box
from cnnlab.errors import DataError, unknown

BITS = "bits"
BOX_LABELS, BOX_CROWD = "box_labels", "box_crowd"
IGNORED_LABEL = 255  # what a label map holds where the padding of its image lies
KINDS = ("image", "label", "point", "label_map", "boxes", "vector", "array")

Example = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Feature:
  """One feature of a data set.

  Attributes:
    kind: one of `KINDS`.
    shape: as read; None for an axis that differs between examples. For boxes (most, 4).
    dtype: of the stored array; `BITS` for an image of ones and zeros, which is stored as uint8 with
      eight channels a byte, the first in its lowest bit.
    names: class names of a label, or of the classes in a label map.

  Raises:
    DataError: an unknown kind.
  """

  kind: str
  shape: tuple[int | None, ...]
  dtype: str
  names: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.kind not in KINDS:
      raise DataError(unknown("kind of feature", self.kind, KINDS))

  @property
  def packed(self) -> bool:
    """Whether it is an image of bits."""
    return self.dtype == BITS


Features = Mapping[str, Feature]


def label_names(features: Features) -> tuple[str, ...]:
  """Returns the class names of the data set: those of its label, else of its label map."""
  own = [features["label"]] if "label" in features else []
  for kind in ("label", "label_map"):
    for feature in (*own, *features.values()):
      if feature.kind == kind:
        return tuple(feature.names)
  return ()


def stored_arrays(
  features: Features, size: Size, channels: int
) -> dict[str, tuple[tuple[int, ...], str]]:
  """Returns {array: (shape, dtype)} of one example as it is stored, fitted to a size."""
  arrays: dict[str, tuple[tuple[int, ...], str]] = {}
  for name, feature in features.items():
    shape = tuple(int(side or 0) for side in feature.shape)
    if feature.kind == "image":
      shape = (*size, channels)
    elif feature.kind == "label_map":
      shape = size
    if feature.packed:
      arrays[name] = ((*shape[:-1], -(-shape[-1] // 8)), "uint8")
      continue
    arrays[name] = (shape, feature.dtype)
    if feature.kind == "boxes":
      arrays[f"{name}_valid"] = (shape[:1], "bool")
  return arrays


def empty_batch(features: Features, count: int, size: Size, channels: int) -> dict[str, np.ndarray]:
  """Returns zeros in the form of a batch of `count` examples."""
  stored = stored_arrays(features, size, channels)
  return {name: np.zeros((count, *shape), dtype) for name, (shape, dtype) in stored.items()}


def fit_example(
  raw: Mapping[str, Any], features: Features, size: Size | None, channels: int
) -> Example:
  """Returns an example in its stored form: every feature fitted to the size as the image is.

  Args:
    raw: feature -> value; boxes are [n, 4] in pixels of the unfitted image.
    features: of the data set.
    size: see `images.to_array`; None keeps the image's own.
    channels: of the image.

  Raises:
    DataError: a value that the feature cannot hold, such as a label that is no class.
  """
  original = next((raw[n].shape[:2] for n, f in features.items() if f.kind == "image"), None)
  example: Example = {}
  for name, feature in features.items():
    value = raw[name]
    if feature.kind == "image":
      example[name] = fit_array(value, size, channels)
    elif feature.kind == "label":
      example[name] = _checked_label(name, int(value), feature)
    elif feature.kind == "label_map":
      example[name] = fit_label_map(_checked_map(name, np.asarray(value), feature), size)
    elif feature.kind == "boxes":
      example |= fit_boxes(name, np.asarray(value, np.float32), feature, original, size)
    else:
      example[name] = _fit_vector(name, value, feature)
  return example


def fit_label_map(labels: np.ndarray, size: Size | None) -> np.ndarray:
  """Returns uint8 [height, width] fitted as an image of that size is, by nearest pixels."""
  labels = labels[:, :, 0] if labels.ndim == 3 else labels
  if size is None or labels.shape == tuple(size):
    return labels.astype(np.uint8, copy=False)
  top, left, bottom, right = source_box((labels.shape[0], labels.shape[1]), size)
  rows = (top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]).astype(int)
  columns = (left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]).astype(int)
  return labels[rows.clip(0, labels.shape[0] - 1)][:, columns.clip(0, labels.shape[1] - 1)].astype(
    np.uint8
  )


def _checked_label(name: str, label: int, feature: Feature) -> np.int32:
  if not 0 <= label < len(feature.names):
    raise DataError(
      f"{name} {label} is outside the classes 0..{len(feature.names) - 1} "
      "(test splits of challenges often have no labels: choose another split)"
    )
  return np.int32(label)


def _checked_map(name: str, labels: np.ndarray, feature: Feature) -> np.ndarray:
  most = len(feature.names)
  strange = labels[(labels >= most) & (labels != IGNORED_LABEL)] if most else labels[:0]
  if strange.size:
    raise DataError(
      f"{name}: {strange.size} pixels have the label {strange.flat[0]}; allowed: 0 to {most - 1}, "
      f"and {IGNORED_LABEL} (ignored)"
    )
  return labels


def fit_boxes(
  name: str, boxes: np.ndarray, feature: Feature, original: Size | None, size: Size | None
) -> Example:
  """Returns boxes [n, 4] of an image fitted to a size as the image is, padded, and their validity.

  Args:
    name: of the feature.
    boxes: in pixels of the unfitted image.
    feature: its declaration, (most, 4).
    original: (height, width) of the unfitted image.
    size: that it is fitted to; None keeps its own.

  Raises:
    DataError: there are more boxes than the feature declares.
  """
  most = int(feature.shape[0] or 0)
  if len(boxes) > most:
    raise DataError(f"{name}: an image has {len(boxes)} boxes; the data set declares {most}")
  if size is not None and original is not None:
    top, left, bottom, right = source_box(original, size)
    scale = np.array([size[0] / (bottom - top), size[1] / (right - left)] * 2, np.float32)
    limit = np.array([*size, *size], np.float32)
    boxes = np.clip((boxes - np.array([top, left] * 2, np.float32)) * scale, 0, limit)
  valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
  padding = ((0, most - len(boxes)),)
  return {
    name: np.pad(boxes, (*padding, (0, 0))).astype(feature.dtype),
    f"{name}_valid": np.pad(valid, padding),
  }


def _fit_vector(name: str, value: Any, feature: Feature) -> np.ndarray:
  array = np.asarray(value, feature.dtype)
  if array.shape != feature.shape:
    raise DataError(f"{name} has the shape {array.shape}; the data set declares {feature.shape}")
  return array


@dataclasses.dataclass(frozen=True)
class View:
  """Which part of an image a network's input shows: the way back to the original size.

  Attributes:
    original: (height, width) of the image in pixels.
    box: (top, left, bottom, right) of the part, in pixels of the image.
  """

  original: Size
  box: tuple[float, float, float, float]

  def restore(self, array: np.ndarray, order: str = "nearest", fill: float = 0) -> np.ndarray:
    """Returns [height, width, ...] in the original size, `fill` where the network saw nothing.

    Args:
      array: of the size of the network's input.
      order: 'nearest' for classes, 'bilinear' for scores.
      fill: value outside of the part.
    """
    height, width = self.original
    top, left = (max(0, round(edge)) for edge in self.box[:2])
    bottom, right = (
      min(most, round(edge)) for most, edge in zip(self.original, self.box[2:], strict=True)
    )
    method = cv2.INTER_NEAREST_EXACT if order == "nearest" else cv2.INTER_LINEAR
    part = cv2.resize(array, (right - left, bottom - top), interpolation=method)
    part = part.reshape(*part.shape[:2], *array.shape[2:])
    whole = np.full((height, width, *array.shape[2:]), fill, array.dtype)
    whole[top:bottom, left:right] = part
    return whole

  def restore_boxes(self, boxes: np.ndarray, size: Size) -> np.ndarray:
    """Returns boxes [n, 4] in pixels of the original image, from pixels of an input of `size`."""
    top, left, bottom, right = self.box
    scale = np.array([(bottom - top) / size[0], (right - left) / size[1]] * 2)
    limit = np.array([*self.original, *self.original])
    return np.clip(boxes * scale + np.array([top, left] * 2), 0, limit).astype(boxes.dtype)
