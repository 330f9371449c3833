"""Boxes of several sizes and shapes around each position of each map (arXiv:1506.01497, 3.1.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cnnlab.errors import ConfigError

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Anchors:
  """Sizes and shapes of anchors, with the rules of torchvision's `AnchorGenerator`.

  Attributes:
    sizes: for each map, from the finest to the coarsest, roots of the anchors' areas in pixels.
    ratios: height / width of the anchors, for all maps.
  """

  sizes: tuple[tuple[float, ...], ...]
  ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

  @property
  def per_position(self) -> tuple[int, ...]:
    """Number of anchors at a position of each map."""
    return tuple(len(sizes) * len(self.ratios) for sizes in self.sizes)

  def at_origin(self, level: int) -> np.ndarray:
    """Returns a map's anchors [count, 4] around (0, 0); edges are rounded to whole pixels.

    They are ordered by ratio, then by size.
    """
    root = np.sqrt(np.asarray(self.ratios, np.float32))
    sizes = np.asarray(self.sizes[level], np.float32)
    heights, widths = (np.outer(factor, sizes).ravel() for factor in (root, 1 / root))
    return np.round(np.stack([-heights, -widths, heights, widths], axis=1) / 2)

  def __call__(self, image_size: Size, map_sizes: Sequence[Size]) -> tuple[np.ndarray, ...]:
    """Returns the anchors of each map, float32 [height * width * count, 4].

    They are ordered by row, column, ratio and size. Strides are rounded down to whole pixels, and
    the first position is at the image's corner. Anchors may reach beyond the image.

    Args:
      image_size: (height, width) of the image.
      map_sizes: (height, width) of each map.

    Raises:
      ConfigError: the number of maps is not that of `sizes`.
    """
    if len(map_sizes) != len(self.sizes):
      raise ConfigError(f"anchors: sizes for {len(self.sizes)} maps, but {len(map_sizes)} maps")
    found = []
    for level, (rows, columns) in enumerate(map_sizes):
      strides = image_size[0] // rows, image_size[1] // columns
      y, x = np.meshgrid(
        np.arange(rows) * strides[0], np.arange(columns) * strides[1], indexing="ij"
      )
      shifts = np.stack([y, x, y, x], axis=-1).reshape(-1, 1, 4)
      found.append((shifts + self.at_origin(level)).reshape(-1, 4).astype(np.float32))
    return tuple(found)
