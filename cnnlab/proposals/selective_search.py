"""Selective search: boxes of regions that grow together (Uijlings et al., doi:10.1007/s11263-013-0620-5).

An image is divided into small segments (Felzenszwalb and Huttenlocher, scikit-image's). The two
neighbors that are most alike are merged, again and again, and every region on the way has a box. This is
done in two color spaces and from two sizes of segments. Deviations: alike are regions in color, size
and fill, but not in texture; two of the paper's five color spaces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from cnnlab.errors import ConfigError

BINS = 25  # of the histogram of each channel (section 3.2)
SCALES = (50.0, 150.0)  # of the segments: k of the paper, for pixels of 0 to 255
SMOOTHING = 0.8  # deviation of the blur before segmentation, in pixels
LEAST_PIXELS = 10  # of a segment


@dataclasses.dataclass
class _Region:
  """A region: its box, pixels, and the histograms of its colors, which sum to 1."""

  box: np.ndarray
  pixels: int
  colors: np.ndarray

  def merged(self, other: _Region) -> _Region:
    pixels = self.pixels + other.pixels
    colors = (self.pixels * self.colors + other.pixels * other.colors) / pixels
    return _Region(_around(self.box, other.box), pixels, colors)

  def likeness(self, other: _Region, image_pixels: int) -> float:
    """Returns the sum of the likenesses in color, size and fill (section 3.2)."""
    box = _around(self.box, other.box)
    pixels = self.pixels + other.pixels
    hole = (box[2] - box[0]) * (box[3] - box[1]) - pixels
    color = np.minimum(self.colors, other.colors).sum()
    return float(color + (1 - pixels / image_pixels) + (1 - hole / image_pixels))


def selective_search(image: np.ndarray, most: int) -> np.ndarray:
  """Returns up to `most` boxes, float32 [n, 4], those that rather show an object first.

  A region counts the more the later it was merged, times a random number, so that one way of merging
  does not come before all others (section 3.3). The numbers are the same in each call.

  Args:
    image: uint8 [height, width, 1 or 3].
    most: number of boxes.

  Raises:
    ConfigError: scikit-image is not installed.
  """
  random = np.random.RandomState(0)
  ranked: list[tuple[float, tuple[int, ...]]] = []
  for colors in _color_spaces(image):
    for scale in SCALES:
      boxes = [tuple(map(int, box)) for box in _grown(colors, scale)]
      ranks = (1 + np.arange(len(boxes))) * random.random_sample(len(boxes))
      ranked += zip(ranks.tolist(), reversed(boxes), strict=True)
  found = dict.fromkeys(box for _, box in sorted(ranked, key=lambda one: one[0]))
  return np.array(list(found)[:most], np.float32).reshape(-1, 4)


def _color_spaces(image: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the image in each color space, float [height, width, channels] of 0 to 255."""
  try:
    from skimage.color import rgb2hsv, rgb2lab
  except ImportError as error:
    raise ConfigError(
      f"proposals are made by scikit-image ({error}); to install it: pip install 'cnnlab[proposals]'"
    ) from error
  image = np.broadcast_to(image, (*image.shape[:2], 3))
  yield 255 * rgb2hsv(image)
  lab = rgb2lab(image)
  yield lab * (2.55, 1, 1) + (0, 128, 128)


def _grown(image: np.ndarray, scale: float) -> list[np.ndarray]:
  """Returns the boxes of the segments, and of what they are merged to, in this order."""
  from skimage.segmentation import felzenszwalb

  labels = felzenszwalb(
    image / 255, scale=scale, sigma=SMOOTHING, min_size=LEAST_PIXELS, channel_axis=-1
  )
  regions = dict(enumerate(_segments(image, labels)))
  alike = {
    pair: regions[pair[0]].likeness(regions[pair[1]], labels.size) for pair in _neighbors(labels)
  }
  while alike:
    first, second = max(alike, key=alike.__getitem__)
    number = len(regions)
    regions[number] = regions[first].merged(regions[second])
    touching = {i for pair in alike if first in pair or second in pair for i in pair}
    alike = {pair: a for pair, a in alike.items() if first not in pair and second not in pair}
    for other in touching - {first, second}:
      alike[other, number] = regions[other].likeness(regions[number], labels.size)
  return [region.box for region in regions.values()]


def _segments(image: np.ndarray, labels: np.ndarray) -> Iterator[_Region]:
  """Yields the regions of a map of labels 0, 1, ... in their order."""
  from scipy.ndimage import find_objects

  values = np.clip(image / 256 * BINS, 0, BINS - 1).astype(int)
  places = values + BINS * np.arange(image.shape[2])
  width = BINS * image.shape[2]
  for number, (rows, columns) in enumerate(find_objects(labels + 1)):
    own = labels[rows, columns] == number
    counts = np.bincount(places[rows, columns][own].ravel(), minlength=width)
    box = np.array([rows.start, columns.start, rows.stop, columns.stop])
    yield _Region(box, int(own.sum()), counts / counts.sum())


def _neighbors(labels: np.ndarray) -> list[tuple[int, int]]:
  """Returns pairs of labels that touch, the smaller first, sorted."""
  beside = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1)
  below = np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1)
  pairs = np.sort(np.concatenate([beside, below]), axis=1)
  pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
  return [(int(first), int(second)) for first, second in pairs]


def _around(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  return np.concatenate([np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])])
