"""Products of many matrices, as in attention, computed by oneDNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.interpreters import ad, batching

from cnnlab.native import library
from cnnlab.native.primitives import native_primitive


def matmul(a: Array, b: Array, *, transposed_a: bool = False, transposed_b: bool = False) -> Array:
  """Multiplies the matrices in the last two axes of `a` and `b`.

  Args:
    a: [..., rows, inner], or [..., inner, rows] if `transposed_a`.
    b: [..., inner, columns], or [..., columns, inner] if `transposed_b`; the leading axes are
      those of `a`.
    transposed_a, transposed_b: whether the last two axes of an operand are exchanged.

  Returns:
    [..., rows, columns].
  """
  kinds = {"transposed_a": transposed_a, "transposed_b": transposed_b}
  if a.ndim > 2 and a.dtype == b.dtype and library.computes(a, b):
    return _matmul_p.bind(a, b, **kinds)
  return _by_xla(a, b, **kinds)


def _by_xla(a: Array, b: Array, transposed_a: bool, transposed_b: bool) -> Array:
  a = jnp.swapaxes(a, -1, -2) if transposed_a else a
  b = jnp.swapaxes(b, -1, -2) if transposed_b else b
  return jnp.matmul(a, b)


_matmul_p = native_primitive(
  "cnnlab_matmul",
  _by_xla,
  lambda **kinds: {name: bool(value) for name, value in kinds.items()},
)


def _bind(a: Any, b: Any, transposed_a: bool, transposed_b: bool) -> Array:
  return _matmul_p.bind(a, b, transposed_a=transposed_a, transposed_b=transposed_b)


def _transpose(
  cotangent: Any, a: Any, b: Any, *, transposed_a: bool, transposed_b: bool
) -> tuple[Any, Any]:
  if type(cotangent) is ad.Zero:
    return None, None
  if ad.is_undefined_primal(a):
    if transposed_a:
      return _bind(b, cotangent, transposed_b, True), None
    return _bind(cotangent, b, False, not transposed_b), None
  if transposed_b:
    return None, _bind(cotangent, a, True, transposed_a)
  return None, _bind(a, cotangent, not transposed_a, False)


def _batch(operands: Sequence[Any], axes: Sequence[Any], **kinds: Any) -> tuple[Array, int]:
  size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
  moved = [
    jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
    for x, axis in zip(operands, axes, strict=True)
  ]
  return _matmul_p.bind(*moved, **kinds), 0


ad.defjvp(
  _matmul_p,
  lambda tangent, a, b, **kinds: _matmul_p.bind(tangent, b, **kinds),
  lambda tangent, a, b, **kinds: _matmul_p.bind(a, tangent, **kinds),
)
ad.primitive_transposes[_matmul_p] = _transpose
batching.primitive_batchers[_matmul_p] = _batch
