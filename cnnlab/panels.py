"""Pictures beside each other in one, each with its title, and the files in which a run keeps its own.

A run keeps the pictures of an example in `pictures/panels/eval_<i>/<place>_<title>.png`. Those of
different networks differ in the one called `PREDICTED` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FOLDER = "panels"  # in the folder of a run's pictures
PREDICTED = "prediction"

_GAP, _LETTERS = 6, 11  # in pixels
_READABLE = 100  # letters in the width of a picture, which a report scales to that of its page


def grid(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
  """Returns one picture of rows of pictures, uint8 [height, width, 3], on white.

  Args:
    rows: {title: picture, uint8 [height, width, 3]} each; a column is as wide as its widest picture
      or title.
  """
  widest = max(sum(picture.shape[1] for picture in row.values()) for row in rows)
  letters = max(_LETTERS, widest // _READABLE)
  titles, font = letters + 7, ImageFont.load_default(letters)
  needed = [
    [max(picture.shape[1], int(font.getlength(title)) + 1) for title, picture in row.items()]
    for row in rows
  ]
  widths = [max(column) for column in itertools.zip_longest(*needed, fillvalue=0)]
  heights = [max(picture.shape[0] for picture in row.values()) + titles + _GAP for row in rows]
  image = Image.new("RGB", (sum(widths) + _GAP * (len(widths) - 1), sum(heights)), "white")
  canvas = ImageDraw.Draw(image)
  top = 0
  for row, height in zip(rows, heights, strict=True):
    left = 0
    for (title, picture), width in zip(row.items(), widths, strict=False):
      canvas.text((left, top + 2), title, fill="black", font=font)
      image.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + titles))
      left += width + _GAP
    top += height
  return np.asarray(image)


def write(panels: Mapping[str, np.ndarray], folder: Path) -> None:
  """Writes the pictures of an example, by their titles, in the order given."""
  folder.mkdir(parents=True, exist_ok=True)
  for place, (title, picture) in enumerate(panels.items()):
    Image.fromarray(picture).save(folder / f"{place}_{title}.png")


def read(folder: Path) -> dict[str, np.ndarray]:
  """Returns what `write` wrote.

  Raises:
    OSError: a file cannot be read.
  """
  found = {}
  for path in sorted(folder.glob("*_*.png"), key=lambda path: int(path.name.partition("_")[0])):
    with Image.open(path) as image:
      found[path.stem.partition("_")[2]] = np.asarray(image.convert("RGB"))
  return found


def beside(networks: Mapping[str, Mapping[str, np.ndarray]], columns: int = 6) -> np.ndarray:
  """Returns what several networks predict for an example in one picture: image, truth, predictions.

  Networks that were shown another example, since they have data of their own, follow in other rows.

  Args:
    networks: {label: panels of the example}.
    columns: most pictures in a row.
  """
  rows = []
  for group in _by_example(networks):
    first = next(iter(group.values()))
    items = [(title, picture) for title, picture in first.items() if title != PREDICTED]
    place = list(first).index(PREDICTED)
    items[place:place] = [(label, own[PREDICTED]) for label, own in group.items()]
    rows += [dict(items[i : i + columns]) for i in range(0, len(items), columns)]
  return grid(rows)


def _by_example(
  networks: Mapping[str, Mapping[str, np.ndarray]],
) -> list[dict[str, Mapping[str, np.ndarray]]]:
  """Groups networks by what they were shown: the pictures before their predictions."""
  groups: dict[tuple[bytes, ...], dict[str, Mapping[str, np.ndarray]]] = {}
  for label, own in networks.items():
    given = itertools.takewhile(lambda item: item[0] != PREDICTED, own.items())
    key = tuple(picture.tobytes() for _, picture in given)
    groups.setdefault(key, {})[label] = own
  return list(groups.values())
