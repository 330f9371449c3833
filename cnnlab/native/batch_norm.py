"""Batch normalization by channel, with native reductions and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.interpreters import ad
from jax.typing import DTypeLike

from cnnlab.native.primitives import native_primitive


def batch_norm(
  x: Array, scale: Array, bias: Array, epsilon: float, dtype: DTypeLike
) -> tuple[Array, Array, Array]:
  """Normalizes each channel by its mean and variance, then scales and shifts it.

  Args:
    x: [..., channels], float32 or bfloat16.
    scale, bias: float32 [channels].
    epsilon: added to the variance.
    dtype: of the result, float32 or bfloat16.

  Returns:
    The result [..., channels], and mean and biased variance, float32 [channels].
  """
  mean, variance = _moments_p.bind(x)
  params = {"epsilon": float(epsilon), "dtype": jnp.dtype(dtype)}
  return _normalize_p.bind(x, mean, variance, scale, bias, **params), mean, variance


def _rows(x: Array) -> Array:
  return x.reshape(-1, x.shape[-1]).astype(jnp.float32)


def _moments(x: Array) -> tuple[Array, Array]:
  rows = _rows(x)
  mean = rows.mean(0)
  return mean, jnp.square(rows - mean).mean(0)


def _normalize(
  x: Array, mean: Array, variance: Array, scale: Array, bias: Array, *, epsilon: float, dtype: Any
) -> Array:
  return ((x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias).astype(dtype)


def _tangent(*operands: Array, epsilon: float, dtype: Any) -> Array:
  """Returns the tangent of the result.

  Args:
    *operands: tangents of `x`, scale and bias; `x`, its moments mean and variance, and scale.
    epsilon, dtype: as of `batch_norm`.
  """
  dx, dscale, dbias, x, mean, variance, scale = operands
  inverse = lax.rsqrt(variance + epsilon)
  rows, normalized = _rows(dx), (_rows(x) - mean) * inverse
  projected = rows - rows.mean(0) - normalized * (rows * normalized).mean(0)
  out = projected * (inverse * scale) + normalized * dscale + dbias
  return out.reshape(x.shape).astype(dtype)


def _gradient(
  cotangent: Array, x: Array, mean: Array, variance: Array, scale: Array, *, epsilon: float
) -> tuple[Array, Array, Array]:
  """Returns the cotangents of `x`, scale and bias: the transpose of `_tangent`."""
  inverse = lax.rsqrt(variance + epsilon)
  rows, normalized = _rows(cotangent), (_rows(x) - mean) * inverse
  projected = rows - rows.mean(0) - normalized * (rows * normalized).mean(0)
  of_x = (projected * (inverse * scale)).reshape(x.shape).astype(x.dtype)
  return of_x, (rows * normalized).sum(0), rows.sum(0)


_moments_p = native_primitive("cnnlab_moments", _moments, multiple=True)
_normalize_p = native_primitive("cnnlab_normalize", _normalize, handler=False)
_tangent_p = native_primitive("cnnlab_batch_norm_tangent", _tangent, handler=False)
_gradient_p = native_primitive(
  "cnnlab_batch_norm_gradient",
  _gradient,
  lambda epsilon: {"epsilon": np.float32(epsilon)},
  multiple=True,
)


def _moments_jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[Any, Any]:
  (x,), (tangent,) = primals, tangents
  mean, variance = _moments_p.bind(x)
  rows = _rows(tangent)
  return (mean, variance), (rows.mean(0), 2 * ((_rows(x) - mean) * rows).mean(0))


def _normalize_jvp(
  primals: Sequence[Array], tangents: Sequence[Any], **params: Any
) -> tuple[Array, Array]:
  # The tangents of mean and variance are left out: `_tangent` takes them from that of x.
  x, mean, variance, scale, _ = primals
  dx, _, _, dscale, dbias = (ad.instantiate_zeros(tangent) for tangent in tangents)
  out = _tangent_p.bind(dx, dscale, dbias, x, mean, variance, scale, **params)
  return _normalize_p.bind(*primals, **params), out


def _tangent_transpose(
  cotangent: Any,
  *operands: Any,
  epsilon: float,
  dtype: Any,
) -> tuple[Array | None, ...]:
  if type(cotangent) is ad.Zero:
    return (None,) * len(operands)
  found = _gradient_p.bind(cotangent, *operands[3:], epsilon=epsilon)
  wanted = map(ad.is_undefined_primal, operands[:3])
  return (*(g if want else None for g, want in zip(found, wanted, strict=True)), *(None,) * 4)


def _by_xla(function: Any) -> Any:
  """Returns a rule for the tangents of a primitive whose derivatives are XLA's."""

  def rule(primals: Sequence[Array], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    known = tuple(ad.instantiate_zeros(tangent) for tangent in tangents)
    return jax.jvp(lambda *operands: function(*operands, **params), tuple(primals), known)

  return rule


ad.primitive_jvps[_moments_p] = _moments_jvp
ad.primitive_jvps[_normalize_p] = _normalize_jvp
ad.primitive_jvps[_tangent_p] = _by_xla(_tangent)
ad.primitive_transposes[_tangent_p] = _tangent_transpose
ad.primitive_jvps[_gradient_p] = _by_xla(_gradient)
