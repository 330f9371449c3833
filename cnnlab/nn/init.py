"""Weight initializers, named by the papers that use them; kernels are [height, width, in, out]."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

Initializer = jax.nn.initializers.Initializer


def kaiming_fan_out() -> Initializer:
  """N(0, 2 / (F·F·K)): keeps the gradient's variance through ReLUs (arXiv:1502.01852, eq. 14)."""
  return nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def kaiming_fan_in() -> Initializer:
  """N(0, 2 / (F·F·C)): keeps the activations' variance through ReLU layers (1502.01852, eq. 10)."""
  return nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def classifier_normal(deviation: float = 0.01) -> Initializer:
  """N(0, 0.01²) for the last linear layer; AlexNet and VGG use it in all layers."""
  return nn.initializers.normal(deviation)


def gate_bias(value: float = -2.0) -> Initializer:
  """A negative constant for transform gates, which start by carrying (arXiv:1505.00387, 2.2)."""
  return nn.initializers.constant(value)


def bilinear(
  key: jax.Array,
  shape: Sequence[int],
  dtype: DTypeLike | None = jnp.float32,
  out_sharding: object = None,
) -> jax.Array:
  """Bilinear interpolation for a transposed convolution of stride ceil(F / 2) (1411.4038, 3.3).

  Each output channel is interpolated from the input channel of the same index, or from its own if
  groups have one input channel.

  Args:
    key, out_sharding: unused; the weights are not random.
    shape: [height, width, in / groups, out].
    dtype: type of the result.
  """
  del key, out_sharding
  height, width, inputs, outputs = shape

  def triangle(size: int) -> jax.Array:
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    return 1 - jnp.abs(jnp.arange(size) - center) / factor

  window = triangle(height)[:, None] * triangle(width)[None, :]
  if inputs == 1:
    channels = jnp.ones((1, outputs))
  else:
    channels = jnp.eye(inputs, outputs)
  return (window[:, :, None, None] * channels).astype(dtype)
