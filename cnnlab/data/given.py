"""Images as a user holds them, such as arrays, files and PIL images, fitted to a network's input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from cnnlab.data.images import (
  SUFFIXES,
  BadImage,
  Size,
  decode_with_size,
  fit_array,
  to_array,
)
from cnnlab.data.listing import entries
from cnnlab.errors import DataError

GivenImage: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
# One image, several of them, or a batch as one array.
GivenImages: TypeAlias = "GivenImage | Iterable[GivenImage]"

_CHANNELS = (1, 3, 4)
_ALLOWED = (
  "allowed: uint8 of [height, width], [height, width, channels], [batch, height, width] or "
  "[batch, height, width, channels] with 1, 3 or 4 channels"
)


class Fitted(NamedTuple):
  """An image in the form in which data sets are stored.

  Attributes:
    name: its file, or its position among the images that were given.
    stored: uint8 [height, width, channels] of the size that was asked for.
    original: (height, width) of the whole image.
  """

  name: str
  stored: np.ndarray
  original: Size


def fitted(images: GivenImages, size: Size, channels: int) -> Iterator[Fitted]:
  """Yields images one by one, each scaled and cropped to a size as evaluation does it.

  Args:
    images: files (PNG, JPEG, BMP or WebP), folders of such files, PIL images, uint8 arrays
      [height, width] or [height, width, channels], or a list of these; or one array of a batch. An
      array of three axes is an image if the last is 1, 3 or 4 long, and a batch of gray images
      otherwise.
    size: (height, width).
    channels: 1 or 3; others are converted.

  Raises:
    DataError: an image cannot be read, or an array does not look like images.
  """
  for place, image in enumerate(_each(images, channels)):
    if isinstance(image, np.ndarray):
      yield Fitted(str(place), fit_array(image, size, channels), (image.shape[0], image.shape[1]))
    elif isinstance(image, Image.Image):
      turned = ImageOps.exif_transpose(image)
      stored = to_array(turned, size, channels)
      yield Fitted(str(place), stored, (turned.height, turned.width))
    else:
      try:
        yield Fitted(os.fspath(image), *decode_with_size(image, size, channels))
      except BadImage as error:
        raise DataError(f"cannot read the image {error}") from error


def _each(images: GivenImages, channels: int) -> Iterator[Any]:
  """Yields paths, PIL images and arrays [height, width, channels]."""
  if isinstance(images, (str, os.PathLike)):
    yield from image_files(images)
  elif isinstance(images, Image.Image):
    yield images
  elif isinstance(images, (list, tuple)) or not hasattr(images, "__array__"):
    if not isinstance(images, Iterable):
      raise DataError(f"images are given as {type(images).__name__}; {_ALLOWED}, files, PIL images")
    for image in images:
      yield from _each(image, channels)
  else:
    yield from _split(np.asarray(images), channels)


def _split(array: np.ndarray, channels: int) -> Iterator[np.ndarray]:
  """Yields the images of an array.

  Raises:
    DataError: its shape or its type is not that of images.
  """
  shape = "x".join(map(str, array.shape)) or "a number"
  whole = np.issubdtype(array.dtype, np.integer)
  if not whole or (array.size and (array.min() < 0 or array.max() > 255)):
    number = array.size and array.dtype.kind in "biuf"
    reach = f" from {float(array.min()):g} to {float(array.max()):g}" if number else ""
    raise DataError(
      f"an array of images holds {array.dtype}{reach}; allowed: integers from 0 to 255, such as "
      "(255 * images).round().astype('uint8')"
    )
  single = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
  if array.ndim == 2 or (array.ndim == 3 and not single):
    if array.ndim == 3 and channels == 3 and array.shape[0] in _CHANNELS:
      raise DataError(
        f"an array of {shape} looks like an image with its channels first; move them to the end, or "
        "give gray images as [batch, height, width, 1]"
      )
    array = array[..., None]
  batch = array[None] if single else array
  if batch.ndim != 4 or batch.shape[3] not in _CHANNELS or 0 in batch.shape:
    raise DataError(f"an array of images has the shape {shape}; {_ALLOWED}")
  yield from batch.astype(np.uint8, copy=False)


def image_files(path: str | os.PathLike[str]) -> list[str]:
  """Returns the image files in a folder, sorted, or the path itself if it is no folder.

  Raises:
    DataError: the folder cannot be read, or holds no image.
  """
  if not os.path.isdir(path):
    return [os.fspath(path)]
  found = [e.path for e in entries(path) if e.name.lower().endswith(SUFFIXES) and e.is_file()]
  if not found:
    raise DataError(
      f"the folder {os.fspath(path)} holds no image ({', '.join(SUFFIXES)}); subfolders are not "
      "looked into"
    )
  return found
