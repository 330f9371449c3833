"""Position embeddings of Vision Transformers, fitted to images of another size."""

from __future__ import annotations

import math

import jax
import numpy as np
from numpy.typing import ArrayLike

POSITIONS = "pos_embedding"  # last part of their path


def resizable(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
  """Returns whether an embedding [1, tokens, features] differs in its grid of patches alone.

  Both grids must be square, with a class token in both or in neither.
  """
  if len(shape) != 3 or len(wanted) != 3 or shape == wanted:
    return False
  return shape[2] == wanted[2] and _class_tokens(shape[1], wanted[1]) is not None


def resized(embedding: ArrayLike, wanted: tuple[int, ...]) -> np.ndarray:
  """Returns a position embedding [1, tokens, features] for another number of patches.

  The grid of patches is resized by bicubic interpolation, with antialiasing where it shrinks, as timm
  does (`resample_abs_pos_embed`); a class token's place is kept. See `resizable`.
  """
  array = np.asarray(embedding)
  extra = _class_tokens(array.shape[1], wanted[1])
  assert extra is not None, "the caller has asked `resizable`"
  token, patches = array[:, :extra], array[:, extra:]
  old, new = (math.isqrt(count - extra) for count in (array.shape[1], wanted[1]))
  grid = patches.reshape(1, old, old, -1)
  found = jax.image.resize(grid, (1, new, new, grid.shape[-1]), "bicubic", antialias=True)
  return np.concatenate([token, np.asarray(found).reshape(1, new * new, -1)], axis=1)


def _class_tokens(tokens: int, wanted: int) -> int | None:
  """Returns how many tokens come before the patches: 0 or 1; None if the grids are not square."""
  for extra in (0, 1):
    if all(math.isqrt(n - extra) ** 2 == n - extra for n in (tokens, wanted)):
      return extra
  return None
