"""A convolution with its norm and activation, as one layer."""

from __future__ import annotations

import jax

from cnnlab.nn.layers import Layers
from cnnlab.nn.types import Layer


def conv_norm_act(
  layers: Layers, features: int, kernel_size: int, name: str, *, stride: int = 1, dilation: int = 1
) -> Layer:
  """Returns a padded convolution, `<name>_conv`, its norm, `<name>_norm`, and the activation.

  With stride 1 it keeps the size of a map.
  """

  def apply(x: jax.Array) -> jax.Array:
    padding = kernel_size // 2 * dilation
    conv = layers.conv(
      features,
      kernel_size,
      stride=stride,
      padding=padding,
      dilation=dilation,
      name=f"{name}_conv",
    )
    return layers.act(layers.norm(name=f"{name}_norm")(conv(x)))

  return apply
