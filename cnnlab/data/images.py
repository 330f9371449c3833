"""Image files to uint8 arrays: decoding, channel conversion and fitting to a size."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image, ImageOps

from cnnlab.errors import DataError

Size = tuple[int, int]

_ORIENTATION = 0x0112  # the EXIF tag, and its values that turn an image by 90 degrees
_TURNED = (5, 6, 7, 8)


class BadImage(Exception):
  """An image that cannot be decoded: which one, and why."""

  def __init__(self, name: str, reason: str):
    super().__init__(name, reason)
    self.name = name
    self.reason = reason

  def __str__(self) -> str:
    return f"{self.name}: {self.reason}"


def source_box(original: Size, size: Size) -> tuple[float, float, float, float]:
  """Returns (top, left, bottom, right) of the part of an image that fitting it to `size` shows.

  The largest part of that aspect ratio about the center, as `PIL.ImageOps.fit` takes it.
  """
  height, width = original
  ratio = size[1] / size[0]
  wide = width / height >= ratio
  part = (float(height), ratio * height) if wide else (width / ratio, float(width))
  top, left = (height - part[0]) / 2, (width - part[1]) / 2
  return top, left, top + part[0], left + part[1]


def image_size(path: str | os.PathLike[str]) -> Size:
  """Returns (height, width) of an image file, its EXIF orientation applied, without decoding it.

  Raises:
    DataError: the file is missing or no image.
  """
  try:
    with Image.open(path) as image:
      turned = image.getexif().get(_ORIENTATION) in _TURNED
      return (image.width, image.height) if turned else (image.height, image.width)
  except Exception as error:  # as in `decode`
    raise DataError(f"cannot read the image {path}: {type(error).__name__}: {error}") from error


def to_array(image: Image.Image, size: Size | None, channels: int) -> np.ndarray:
  """Returns a PIL image as uint8 [height, width, channels].

  Args:
    image: any mode; 16-bit grey keeps its upper byte, transparency is dropped.
    size: (height, width) to fit: the image is scaled, keeping its aspect ratio, until it covers
      `size`, and cropped about its centre. With a square size this is the usual "resize the short
      side, then centre crop". None keeps the image's own size.
    channels: 1 (luminance) or 3.
  """
  if image.mode.startswith("I"):
    image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
  image = image.convert("L" if channels == 1 else "RGB")
  if size is not None and (image.height, image.width) != tuple(size):
    image = ImageOps.fit(image, (size[1], size[0]), method=Image.Resampling.BILINEAR)
  array = np.asarray(image)
  return array[:, :, None] if channels == 1 else array


def fit_array(array: np.ndarray, size: Size | None, channels: int) -> np.ndarray:
  """Returns uint8 [h, w, c] fitted as in `to_array`; the same array when nothing is to be done."""
  same_size = size is None or array.shape[:2] == tuple(size)
  if same_size and array.shape[2] == channels:
    return array
  if same_size and array.shape[2] == 1:
    return np.repeat(array, channels, axis=2)
  return to_array(Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array), size, channels)


def decode(data: bytes | str | os.PathLike[str], size: Size | None, channels: int) -> np.ndarray:
  """Decodes an image file, or its bytes, to uint8 [height, width, channels] (see `to_array`).

  The EXIF orientation is applied. A JPEG of over twice the size asked for is decoded at a reduced
  scale, which is several times faster.

  Raises:
    BadImage: the file is missing, truncated, or no image.
  """
  name = "<bytes>" if isinstance(data, bytes) else os.fspath(data)
  try:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
      if size is not None and image.format == "JPEG":
        side = 2 * max(size)
        image.draft("L" if channels == 1 else "RGB", (side, side))
      return to_array(ImageOps.exif_transpose(image), size, channels)
  # Pillow's decoders raise whatever broken bytes lead them to: OSError, SyntaxError, struct.error,
  # ValueError, EOFError, zlib.error and more.
  except Exception as error:
    raise BadImage(name, f"{type(error).__name__}: {error}") from error


def load_image(
  path: str | os.PathLike[str], size: Size | None = None, channels: int = 3
) -> np.ndarray:
  """Reads one image file as uint8 [height, width, channels], as the evaluation pipeline does.

  Raises:
    DataError: the file is missing, truncated or no image.
  """
  try:
    return decode(path, size, channels)
  except BadImage as error:
    raise DataError(f"cannot read the image {error}") from error
