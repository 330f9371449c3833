"""Resizing of maps by bilinear interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from cnnlab.nn import geometry
from cnnlab.nn.conv import require_images


@jax.named_scope("resize")
def resize(x: jax.Array, size: Sequence[int]) -> jax.Array:
  """Interpolates [batch, height, width, channels] bilinearly to another height and width.

  Pixels are squares and the map covers the same image before and after, as with PyTorch's
  `align_corners=False`; beyond the centers of the outermost pixels the value is theirs. Reduced
  maps are sampled without a low-pass filter.
  """
  require_images(x, "resize")
  height, width = geometry.pair(tuple(size), "size")
  if x.shape[1:3] == (height, width):
    return x
  shape = (x.shape[0], height, width, x.shape[3])
  return jax.image.resize(x, shape, "bilinear", antialias=False)
