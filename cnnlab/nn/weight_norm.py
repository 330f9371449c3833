"""Weight normalization: a kernel is g · v / ‖v‖ (arXiv:1602.07868).

Data-dependent initialization (section 3) happens in `init`: with a real batch, each layer sets g
and its bias so that its outputs have mean 0 and variance 1 over that batch, layer by layer. If
a channel's outputs do not vary (as with an input of zeros), g = ‖v‖: the layer starts as the
ordinary one with the same kernel.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.nn.conv import Conv, Linear
from cnnlab.nn.init import Initializer
from cnnlab.nn.types import DType


def normalized(direction: jax.Array) -> jax.Array:
  """Returns v / ‖v‖ with one norm per output channel, the last axis; zero where v is zero."""
  squares = _squared_norm(direction)
  return direction / jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def _squared_norm(direction: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(direction), axis=tuple(range(direction.ndim - 1)))


def _initial_scale_and_bias(
  direction: jax.Array, outputs: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns g = 1/σ and b = -μ/σ of the unit kernel's outputs (eq. 5)."""
  outputs = outputs.astype(jnp.float32)
  axes = tuple(range(outputs.ndim - 1))
  mean, deviation = outputs.mean(axes), outputs.std(axes)
  varies = deviation > 1e-5
  scale = 1 / jnp.where(varies, deviation, 1.0)
  lengths = jnp.sqrt(_squared_norm(direction))
  return (
    jnp.where(varies, scale, lengths),
    jnp.where(varies, -mean * scale, bias),
  )


def weight_normed(layer: Any, x: jax.Array, shape: tuple[int, ...], apply: Linear) -> jax.Array:
  """Returns the result of `affine` with the kernel g · v / ‖v‖.

  Parameters: `kernel` (the direction v), `scale` (g) and `bias`.
  """
  direction = layer.param("kernel", layer.kernel_init, shape)
  unit = normalized(direction)

  # Flax also calls initializers in `apply`, only for the shapes.
  first = last = jnp.zeros(shape[-1:])
  if layer.is_initializing():
    plain = layer.bias_init(layer.make_rng("params"), shape[-1:])
    images, kernel = nn.dtypes.promote_dtype(x, unit, dtype=layer.dtype)
    first, last = _initial_scale_and_bias(direction, apply(images, kernel), plain)
  scale = layer.param("scale", lambda _: first)
  bias = layer.param("bias", lambda _: last) if layer.use_bias else None
  x, kernel, bias = nn.dtypes.promote_dtype(x, unit * scale, bias, dtype=layer.dtype)
  y = apply(x, kernel)
  return y if bias is None else y + bias


class WeightNormConv(Conv):
  """`Conv` with a weight-normed kernel; same attributes, and a parameter `scale` [features]."""

  def weigh(self, x: jax.Array, shape: tuple[int, ...], apply: Linear) -> jax.Array:
    """Returns `apply(x, kernel)` with the kernel g · v / ‖v‖, plus the bias."""
    return weight_normed(self, x, shape, apply)


class WeightNormDense(nn.Module):
  """`flax.linen.Dense` with a weight-normed kernel and a parameter `scale` [features]."""

  features: int
  use_bias: bool = True
  dtype: DType = None
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., in] to [..., features]."""
    return weight_normed(self, x, (x.shape[-1], self.features), jnp.matmul)
