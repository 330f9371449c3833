"""Pictures beside each other in one, each with its title."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TITLE, _GAP, _LETTERS = 18, 6, 11  # heights and distances in pixels


def grid(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
  """Returns one picture of rows of pictures, uint8 [height, width, 3], on white.

  Args:
    rows: {title: picture, uint8 [height, width, 3]} each; a column is as wide as its widest picture
      or title.
  """
  font = ImageFont.load_default(_LETTERS)
  needed = [
    [max(picture.shape[1], int(font.getlength(title)) + 1) for title, picture in row.items()]
    for row in rows
  ]
  widths = [max(column) for column in itertools.zip_longest(*needed, fillvalue=0)]
  heights = [max(picture.shape[0] for picture in row.values()) + _TITLE + _GAP for row in rows]
  image = Image.new("RGB", (sum(widths) + _GAP * (len(widths) - 1), sum(heights)), "white")
  canvas = ImageDraw.Draw(image)
  top = 0
  for row, height in zip(rows, heights, strict=True):
    left = 0
    for (title, picture), width in zip(row.items(), widths, strict=False):
      canvas.text((left, top + 2), title, fill="black", font=font)
      image.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + _TITLE))
      left += width + _GAP
    top += height
  return np.asarray(image)
