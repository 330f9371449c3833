"""Weight normalisation: a kernel is g · v / ‖v‖ (arXiv:1602.07868).

Data-dependent initialisation (section 3) happens in `init`: with a real batch, each layer sets g
and its bias so that its outputs have mean 0 and variance 1 over that batch, layer by layer. Where
the batch says nothing (a channel's outputs do not vary, as with an input of zeros), g = ‖v‖: the
layer starts as the ordinary one with the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.nn import geometry
from cnnlab.nn.conv import check_groups, convolve, kernel_shape, require_images
from cnnlab.nn.init import Initializer, kaiming_fan_out


def normalised(direction: jax.Array) -> jax.Array:
  """Returns v / ‖v‖ with one norm for each output channel, the last axis of `direction`."""
  return direction / jnp.sqrt(_squared_norm(direction))


def _squared_norm(direction: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(direction), axis=tuple(range(direction.ndim - 1)))


def _initial_scale_and_bias(
  direction: jax.Array, outputs: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns g = 1/σ and b = -μ/σ of the outputs that the unit kernel gives (eq. 5)."""
  outputs = outputs.astype(jnp.float32)
  axes = tuple(range(outputs.ndim - 1))
  mean, deviation = outputs.mean(axes), outputs.std(axes)
  says_something = deviation > 1e-5
  scale = 1 / jnp.where(says_something, deviation, 1.0)
  lengths = jnp.sqrt(_squared_norm(direction))
  return (
    jnp.where(says_something, scale, lengths),
    jnp.where(says_something, -mean * scale, bias),
  )


class WeightNormed(nn.Module):
  """Parameters `kernel` (the direction v), `scale` (g) and `bias` of a weight-normed layer."""

  def weigh(
    self,
    x: jax.Array,
    shape: Sequence[int],
    apply: Callable[[jax.Array, jax.Array], jax.Array],
    options: Any,
  ) -> jax.Array:
    """Applies the layer's linear function `apply(x, kernel)` with the kernel g · v / ‖v‖."""
    kernel_init, bias_init, use_bias, dtype = options
    direction = self.param("kernel", kernel_init, tuple(shape))
    unit = normalised(direction)

    # Flax calls initialisers in `apply` too, for the shapes alone.
    first = last = jnp.zeros(shape[-1:])
    if self.is_initializing():
      plain = bias_init(self.make_rng("params"), tuple(shape[-1:]))
      images, kernel = nn.dtypes.promote_dtype(x, unit, dtype=dtype)
      first, last = _initial_scale_and_bias(direction, apply(images, kernel), plain)
    scale = self.param("scale", lambda _: first)
    bias = self.param("bias", lambda _: last) if use_bias else None
    x, kernel, bias = nn.dtypes.promote_dtype(x, unit * scale, bias, dtype=dtype)
    y = apply(x, kernel)
    return y if bias is None else y + bias


class WeightNormConv(WeightNormed):
  """`Conv` with a weight-normed kernel; same attributes, and a parameter `scale` [features]."""

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  dilation: int | Sequence[int] = 1
  groups: int = 1
  use_bias: bool = True
  dtype: Any = None
  fit: str = "exact"
  kernel_init: Initializer = kaiming_fan_out()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Convolves [batch, height, width, in]; see `Conv`."""
    what = f"conv {self.name!r}"
    require_images(x, what)
    check_groups(x.shape[3], self.features, self.groups, what)
    shape = kernel_shape(x, self.kernel_size, self.features, self.groups)

    def apply(images: jax.Array, kernel: jax.Array) -> jax.Array:
      return convolve(
        images, kernel, self.stride, self.padding, self.dilation, self.groups, self.fit, what
      )

    return self.weigh(
      x, shape, apply, (self.kernel_init, self.bias_init, self.use_bias, self.dtype)
    )


class WeightNormDense(WeightNormed):
  """`flax.linen.Dense` with a weight-normed kernel and a parameter `scale` [features]."""

  features: int
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., in] to [..., features]."""
    options = (self.kernel_init, self.bias_init, self.use_bias, self.dtype)
    return self.weigh(x, (x.shape[-1], self.features), jnp.matmul, options)
