"""Image files to uint8 arrays: decoding, channel conversion and fitting to a size."""

from __future__ import annotations

import io
import os
import stat
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnlab.errors import DataError

Size = tuple[int, int]

# The formats that are read, whatever a file is called, with the suffixes by which folders list them.
# Pillow knows forty more; some of them start other programs, as EPS does.
FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "BMP": (".bmp",), "WEBP": (".webp",)}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Pillow warns of images of over half the pixels that it refuses to decode; those are read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

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


def image_size(path: str | os.PathLike[str], decoding: bool = True) -> Size:
  """Returns (height, width) of an image file, its EXIF orientation applied.

  Args:
    path: of the file.
    decoding: whether a PNG may be decoded whole, to find an orientation that stands behind its
      pixels, as `decode` does; few programs write it there.

  Raises:
    DataError: the file is missing or no image.
  """
  try:
    with _open(path) as file, Image.open(file, formats=tuple(FORMATS)) as image:
      known = decoding or image.format != "PNG" or "exif" in image.info
      turned = known and image.getexif().get(_ORIENTATION) in _TURNED
      return (image.width, image.height) if turned else (image.height, image.width)
  except Exception as error:  # as in `decode`
    raise DataError(f"cannot read the image {path}: {_reason(error)}") from error


def _open(data: bytes | str | os.PathLike[str]) -> BinaryIO:
  """Opens a plain file; a pipe would be waited for, and a device may have no end."""
  if isinstance(data, bytes):
    return io.BytesIO(data)
  mode = os.stat(data).st_mode
  if not stat.S_ISREG(mode):
    raise _NotPlainError(f"not a plain file but {_KINDS.get(stat.S_IFMT(mode), 'a special one')}")
  return open(data, "rb")


class _NotPlainError(Exception):
  pass


_KINDS = {
  stat.S_IFDIR: "a folder",
  stat.S_IFIFO: "a pipe",
  stat.S_IFSOCK: "a socket",
  stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
}


def _reason(error: Exception) -> str:
  """Returns why an image cannot be read, without the file's name."""
  if isinstance(error, UnidentifiedImageError):
    return f"its content is not of a format that is read ({', '.join(FORMATS)})"
  if isinstance(error, Image.DecompressionBombError):
    return str(error).partition(",")[0]  # the number of pixels, and the most that are allowed
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return str(error) if isinstance(error, _NotPlainError) else f"{type(error).__name__}: {error}"


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
    image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
  mode = "L" if channels == 1 else "RGB"
  if image.mode != mode:  # converting copies in any case
    image = image.convert(mode)
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
  return decode_with_size(data, size, channels)[0]


def decode_with_size(
  data: bytes | str | os.PathLike[str], size: Size | None, channels: int
) -> tuple[np.ndarray, Size]:
  """Returns what `decode` does, and the (height, width) of the whole image."""
  name = "<bytes>" if isinstance(data, bytes) else os.fspath(data)
  try:
    with _open(data) as file, Image.open(file, formats=tuple(FORMATS)) as image:
      width, height = image.size
      if size is not None and image.format == "JPEG":
        side = 2 * max(size)
        image.draft("L" if channels == 1 else "RGB", (side, side))
      turned = image.getexif().get(_ORIENTATION) in _TURNED
      ImageOps.exif_transpose(image, in_place=True)
      array = to_array(image, size, channels)
      return array, (width, height) if turned else (height, width)
  # Pillow's decoders raise whatever broken bytes lead them to: OSError, SyntaxError, struct.error,
  # ValueError, EOFError, zlib.error and more.
  except Exception as error:
    raise BadImage(name, _reason(error)) from error


def decode_labels(path: str | os.PathLike[str]) -> np.ndarray:
  """Returns the values of a label map, a palette or gray PNG file, as int [height, width].

  Raises:
    BadImage: the file is missing, truncated, or no PNG.
    DataError: it has colors of other kinds.
  """
  try:
    with _open(path) as file, Image.open(file, formats=("PNG",)) as image:
      if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        return np.asarray(image)
      mode = image.mode
  except Exception as error:  # as in `decode`
    raise BadImage(os.fspath(path), _reason(error)) from error
  raise DataError(f"{path}: a label map of mode {mode}; allowed: a PNG file, palette or gray")


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
