"""The eight symmetries of a square: turns and mirror images, by number.

Bit 0 of the number mirrors rows, bit 1 columns; bit 2 then swaps the two.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

SYMMETRIES = 8


def transform(x: jax.Array, number: int | jax.Array) -> jax.Array:
  """Returns a square map [side, side, ...] in the symmetry of that number; traceable in both."""
  x = jnp.where(number & 1, x[::-1], x)
  x = jnp.where(number & 2, x[:, ::-1], x)
  return jnp.where(number & 4, jnp.swapaxes(x, 0, 1), x)


def restore(x: jax.Array, number: int | jax.Array) -> jax.Array:
  """Returns the map [side, side, ...] that `transform` would turn into `x`."""
  x = jnp.where(number & 4, jnp.swapaxes(x, 0, 1), x)
  x = jnp.where(number & 2, x[:, ::-1], x)
  return jnp.where(number & 1, x[::-1], x)


def transform_point(point: jax.Array, number: int | jax.Array, side: int) -> jax.Array:
  """Returns where `transform` puts a point, both as row * side + column."""
  row, column = point // side, point % side
  row = jnp.where(number & 1, side - 1 - row, row)
  column = jnp.where(number & 2, side - 1 - column, column)
  return jnp.where(number & 4, column * side + row, row * side + column)
