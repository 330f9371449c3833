"""Pictures of boxes with names and scores, uint8 [height, width, 3]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnlab.tasks.segmentation_pictures import as_rgb, palette

LEAST_SIDE = 240  # of a small image, in pixels; its pixels are repeated, so that names can be read
_LETTERS = 11


def with_boxes(
  image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
  """Returns an image with boxes in the colors of their classes, and a text at each.

  Args:
    image: uint8 [height, width, 1 or 3]; a small one is enlarged.
    boxes: [n, 4] in its pixels; the first are drawn over the others.
    labels: [n], of the classes.
    texts: one for each box.
  """
  times = -(-LEAST_SIDE // min(image.shape[:2]))
  large = as_rgb(image).repeat(times, axis=0).repeat(times, axis=1)
  picture = Image.fromarray(np.ascontiguousarray(large))
  canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(_LETTERS)
  for box, label, text in reversed(list(zip(boxes * times, labels, texts, strict=True))):
    color = tuple(map(int, palette()[label % 255]))
    top, left, bottom, right = map(float, box)
    corner = (max(left, right - 1), max(top, bottom - 1))
    canvas.rectangle((left, top, *corner), outline=color, width=2)
    # Above the box, or within it at the upper border.
    place = (left, top - _LETTERS - 3 if top > _LETTERS + 3 else top)
    canvas.rectangle(canvas.textbbox(place, text, font=font), fill=color)
    canvas.text(place, text, fill="white", font=font)
  return np.asarray(picture)
