"""Pictures of label maps: colors, overlays and legends, uint8 [height, width, 3]."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

NO_LABEL = 255
OPACITY = 0.55  # of the colors over an image
LEAST_SIDE = 120  # of a small image that is shown beside others, in pixels
_LINE, _MARGIN, _LETTERS = 16, 4, 11


@functools.cache
def palette() -> np.ndarray:
  """Returns the color of each value of a label map, uint8 [256, 3]; that of 255 is black.

  Matplotlib's 20 colors, the strong ones first; then the same again, darker each time.
  """
  import matplotlib

  colors = np.array(matplotlib.colormaps["tab20"].colors)  # type: ignore[attr-defined]
  strong, pale = colors[::2], colors[1::2]
  rounds = [np.concatenate([strong, pale]) * 0.75**turn for turn in range(13)]
  found = np.round(255 * np.concatenate(rounds)[:256]).astype(np.uint8)
  found[NO_LABEL] = 0
  return found


def as_rgb(image: np.ndarray) -> np.ndarray:
  """Returns uint8 [height, width, 3] of an image with 1 or 3 channels."""
  return np.broadcast_to(image, (*image.shape[:2], 3))


def overlay(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
  """Returns an image with the colors of its classes over it; pixels without one stay as they are."""
  image = as_rgb(image)
  mixed = np.round(OPACITY * palette()[classes] + (1 - OPACITY) * image).astype(np.uint8)
  return np.where((classes == NO_LABEL)[..., None], image, mixed)


def enlarged(picture: np.ndarray) -> np.ndarray:
  """Returns a small picture with each pixel repeated, so that its shorter side can be looked at."""
  times = -(-LEAST_SIDE // min(picture.shape[:2]))
  return picture.repeat(times, axis=0).repeat(times, axis=1)


def legend(names: Sequence[str], classes: np.ndarray, width: int = 0) -> np.ndarray:
  """Returns the colors and names of the classes that occur in a label map, on white.

  Args:
    names: of the classes.
    classes: uint8, any shape.
    width: in pixels, which as many entries as fit share a line of; 0: one entry a line.
  """
  font = ImageFont.load_default(_LETTERS)
  found = [int(index) for index in np.unique(classes)]
  entries = [(i, "no label" if i == NO_LABEL else names[i]) for i in found]
  lengths = [_LINE + int(font.getlength(name)) + 2 * _MARGIN for _, name in entries]
  places, x, y = [], 0, 0
  for length in lengths:
    if x and x + length > width:
      x, y = 0, y + _LINE
    places.append((x, y))
    x += length
  wide = max((x + length for (x, _), length in zip(places, lengths, strict=True)), default=1)
  image = Image.new("RGB", (max(width, wide), y + _LINE), "white")
  canvas = ImageDraw.Draw(image)
  for (index, name), (x, y) in zip(entries, places, strict=True):
    square = (x + _MARGIN, y + _MARGIN, x + _LINE - _MARGIN, y + _LINE - _MARGIN)
    canvas.rectangle(square, fill=tuple(map(int, palette()[index])), outline="black")
    canvas.text((x + _LINE, y + 1), name, fill="black", font=font)
  return np.asarray(image)


def below(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Returns a picture with another one below it, on white as far as one is wider."""
  width = max(picture.shape[1], other.shape[1])
  padded = (
    np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255)
    for one in (picture, other)
  )
  return np.concatenate(list(padded))
