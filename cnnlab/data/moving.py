"""Boxes moved and cut as their images are: clipped, and dropped where too little is left of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.data.images import Size
from cnnlab.data.transforms import AxisMap

if TYPE_CHECKING:
  import jax


def move_boxes(
  name: str, batch: Mapping[str, Any], maps: AxisMap, size: Size, least: float = 0.0
) -> dict[str, jax.Array]:
  """Returns boxes and their validity where maps put them; traceable.

  A box of which nothing is left, or less than the share that must be, becomes zero and invalid.

  Args:
    name: of the boxes, [b, n, 4] as (ymin, xmin, ymax, xmax) in pixels of the source.
    batch: has them and `<name>_valid`, bool [b, n].
    maps: from output to source positions, of each example, [b, 2] or [1, 2].
    size: (height, width) of the output.
    least: share of its area that must be left of a box.
  """
  import jax.numpy as jnp

  corners = batch[name].reshape(*batch[name].shape[:2], 2, 2)  # [b, n, (min, max), (y, x)]
  # Pixel centers have whole numbers, edges lie half a pixel off.
  moved = (corners - 0.5 - maps.offset[:, None, None]) / maps.step[:, None, None] + 0.5
  low, high = moved.min(2), moved.max(2)
  limit = jnp.array(size, jnp.float32)
  top, bottom = jnp.clip(low, 0, limit), jnp.clip(high, 0, limit)
  left, whole = jnp.prod(bottom - top, axis=-1), jnp.prod(high - low, axis=-1)
  valid = batch[f"{name}_valid"] & jnp.all(bottom > top, axis=-1) & (left >= least * whole)
  found = jnp.concatenate([top, bottom], -1) * valid[..., None]
  return {name: found.astype(jnp.float32), f"{name}_valid": valid}


def cut_boxes(
  name: str, examples: Mapping[str, np.ndarray], rows: slice, columns: slice
) -> dict[str, np.ndarray]:
  """Returns boxes [b, n, 4] and their validity in a part of their images, on the host."""
  start = np.array([rows.start, columns.start] * 2, np.float32)
  stop = np.array([rows.stop, columns.stop] * 2, np.float32)
  boxes = np.clip(examples[name], start, stop) - start
  valid = examples[f"{name}_valid"] & (boxes[..., 2:] > boxes[..., :2]).all(-1)
  return {name: boxes * valid[..., None], f"{name}_valid": valid}
