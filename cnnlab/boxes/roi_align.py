"""RoI align: maps of one size from boxes of any (Mask R-CNN, arXiv:1703.06870, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

# A box of this many pixels (root of its area) is taken from the map with stride 2**4.
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4


def levels_of(boxes: jax.Array, strides: Sequence[int]) -> jax.Array:
  """Returns the map that each box is taken from, int32 [n], an index of `strides`.

  Source: Feature Pyramid Networks (arXiv:1612.03144), eq. 1.

  Args:
    boxes: [n, 4] in pixels of the image.
    strides: of the maps, each twice that of the one before.
  """
  sides = jnp.maximum(boxes[:, 2:] - boxes[:, :2], 0)
  side = jnp.maximum(jnp.sqrt(sides[:, 0] * sides[:, 1]), 1e-6)
  # As in torchvision, 1e-6 keeps rounding from lowering the level of an exact size.
  level = jnp.floor(CANONICAL_LEVEL + jnp.log2(side / CANONICAL_SIDE) + 1e-6)
  return jnp.clip(level - round(math.log2(strides[0])), 0, len(strides) - 1).astype(jnp.int32)


def roi_align(
  maps: Sequence[jax.Array],
  boxes: jax.Array,
  strides: Sequence[int],
  size: int = 7,
  sampling_ratio: int = 2,
) -> jax.Array:
  """Returns maps [n, size, size, channels] of boxes, each taken from the map that fits its size.

  Each bin is the mean of `sampling_ratio`² points, which are interpolated bilinearly. Rules are those of
  torchvision's `roi_align` with `aligned=False`, as its detectors use it: the center of a pixel is
  at its index, sides are at least one pixel of the map, and a point more than a pixel outside of
  the map is 0. Box coordinates get no gradient in torchvision; here they do, unless stopped.

  Args:
    maps: [height, width, channels], from the finest to the coarsest.
    boxes: [n, 4] in pixels of the image.
    strides: of the maps in pixels; more than one: see `levels_of`.
    size: number of bins along each side.
    sampling_ratio: points of a bin along each side.
  """
  level = levels_of(boxes, strides)
  heights, widths = (jnp.asarray([m.shape[axis] for m in maps])[level] for axis in (0, 1))
  starts = [0]
  for m in maps[:-1]:
    starts.append(starts[-1] + m.shape[0] * m.shape[1])
  pixels = jnp.concatenate([m.reshape(-1, m.shape[-1]) for m in maps])
  scaled = boxes / jnp.asarray(strides, boxes.dtype)[level][:, None]
  points = size * sampling_ratio
  # Two taps along each axis: [n, points, 2].
  rows, row_weights = _taps(scaled[:, 0], scaled[:, 2], heights, points)
  columns, column_weights = _taps(scaled[:, 1], scaled[:, 3], widths, points)
  row_starts = jnp.asarray(starts)[level][:, None, None] + rows * widths[:, None, None]
  total = jnp.zeros((), pixels.dtype)
  for i in range(2):
    for j in range(2):
      found = pixels[row_starts[:, :, None, i] + columns[:, None, :, j]]  # [n,points,points,C]
      weight = row_weights[:, :, None, i] * column_weights[:, None, :, j]
      total += found * weight[..., None].astype(pixels.dtype)
  bins = (len(boxes), size, sampling_ratio, size, sampling_ratio, pixels.shape[-1])
  return total.reshape(bins).mean((2, 4))


def _taps(
  start: jax.Array, end: jax.Array, length: jax.Array, points: int
) -> tuple[jax.Array, jax.Array]:
  """Returns indices and weights [n, points, 2] of the pixels that points of an axis lie between.

  Args:
    start, end: of each box along the axis [n], in pixels of its map.
    length: of its map [n].
    points: number of points, evenly spaced.
  """
  side = jnp.maximum(end - start, 1)
  at = start[:, None] + side[:, None] * (jnp.arange(points) + 0.5) / points
  last = length[:, None] - 1
  inside = (at >= -1) & (at <= length[:, None])
  at = jnp.clip(at, 0, last)
  low = jnp.floor(at).astype(jnp.int32)
  share = at - low
  taps = jnp.stack([low, jnp.minimum(low + 1, last)], axis=-1)
  return taps, jnp.stack([1 - share, share], axis=-1) * inside[..., None]
