"""Keeps a value, so that XLA computes it once."""

from __future__ import annotations

from typing import Any

from jax import Array
from jax.interpreters import ad

from cnnlab.native import library
from cnnlab.native.primitives import native_primitive


def keep(x: Array) -> Array:
  """Returns `x`, and has XLA store it, and its gradient, instead of computing them for each use.

  XLA:CPU computes cheap operations again in everything that uses their result. Through the sums of a
  residual network this goes back over all blocks, and the work grows with the square of the depth.
  """
  return _keep_p.bind(x) if library.computes(x) else x


def _transpose(cotangent: Any, x: Any) -> tuple[Any]:
  return (cotangent if type(cotangent) is ad.Zero else _keep_p.bind(cotangent),)


_keep_p = native_primitive("cnnlab_keep", lambda x: x, in_place=True)
ad.deflinear2(_keep_p, _transpose)
