"""Locally connected layer: convolution without shared weights (CS231n, "Parameter sharing")."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.nn import geometry
from cnnlab.nn.conv import require_images
from cnnlab.nn.init import Initializer
from cnnlab.nn.pool import window_views
from cnnlab.nn.types import DType


class LocallyConnected(nn.Module):
  """Applies a separate filter at every position of [batch, height, width, in].

  Parameters: `kernel` [out height, out width, window height, window width, in, features] and
  `bias` [out height, out width, features]; AlexNet's first layer would have 105,705,600 parameters
  instead of 34,944.

  Attributes:
    features: output channels.
    kernel_size: window, one int or (height, width).
    stride: step between windows.
    padding: see `Conv`.
    use_bias: whether to add a bias for every position and channel.
    dtype: type of the computation; parameters are float32.
    fit: see `Conv`.
    kernel_init: default Kaiming fan-in of one position.
    bias_init: default zero.
  """

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  use_bias: bool = True
  dtype: DType = None
  fit: str = "exact"
  kernel_init: Initializer = nn.initializers.variance_scaling(
    2.0, "fan_in", "normal", batch_axis=(0, 1)
  )
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns [batch, out height, out width, features]; ShapeError if the window does not fit."""
    what = f"locally connected {self.name!r}"
    require_images(x, what)
    window = geometry.pair(self.kernel_size, "kernel_size")
    stride = geometry.pair(self.stride, "stride")
    axes = geometry.fit_image(x.shape[1:3], window, stride, self.padding, 1, self.fit, what)
    size = (axes[0].out, axes[1].out)
    kernel = self.param("kernel", self.kernel_init, (*size, *window, x.shape[3], self.features))
    bias = self.param("bias", self.bias_init, (*size, self.features)) if self.use_bias else None
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    views = window_views(geometry.pad_image(x, axes, 0.0), window, stride)
    patches = jnp.stack(views, axis=3)  # [B,H,W,window,in]
    y = jnp.einsum("bhwki,hwkif->bhwf", patches, kernel.reshape(*size, len(views), x.shape[3], -1))
    return y if bias is None else y + bias
