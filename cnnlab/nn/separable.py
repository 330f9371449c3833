"""Depthwise-separable and spatially separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import linen as nn

from cnnlab.nn import geometry
from cnnlab.nn.conv import Conv, require_images
from cnnlab.nn.init import Initializer, kaiming_fan_out
from cnnlab.nn.types import DType, LayerFactory


class DepthwiseSeparableConv(nn.Module):
  """A convolution within each channel, then a 1x1 convolution across channels (arXiv:1610.02357).

  F·F·C·m + C·m·K weights instead of F·F·C·K. Parameters: those of the `Conv`s `depthwise` (in *
  multiplier features) and `pointwise`. For a norm or activation between the two, use two `Conv`s.

  Attributes:
    features: output channels K.
    kernel_size: window F of the depthwise step.
    stride: stride of the depthwise step.
    padding: padding of the depthwise step.
    dilation: dilation of the depthwise step.
    multiplier: number m of depthwise filters per input channel.
    use_bias: whether the pointwise step has a bias; the depthwise step has none.
    dtype: type of the computation.
    fit: see `Conv`.
    conv: factory of both steps, such as `Layers.conv`.
    kernel_init: default Kaiming fan-out.
  """

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  dilation: int | Sequence[int] = 1
  multiplier: int = 1
  use_bias: bool = True
  dtype: DType = None
  fit: str = "exact"
  conv: LayerFactory = Conv
  kernel_init: Initializer = kaiming_fan_out()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, in] to [batch, out height, out width, features]."""
    require_images(x, f"separable conv {self.name!r}")
    shared = {"dtype": self.dtype, "kernel_init": self.kernel_init}
    x = self.conv(
      x.shape[3] * self.multiplier,
      self.kernel_size,
      stride=self.stride,
      padding=self.padding,
      dilation=self.dilation,
      groups=x.shape[3],
      use_bias=False,
      fit=self.fit,
      name="depthwise",
      **shared,
    )(x)
    return self.conv(self.features, 1, use_bias=self.use_bias, name="pointwise", **shared)(x)


class SpatiallySeparableConv(nn.Module):
  """An Fx1 convolution followed by a 1xF convolution, in place of FxF (arXiv:1512.00567, 3.2).

  With one input and output channel, it is the FxF convolution with the kernels' outer product.
  Parameters: those of the `Conv`s `vertical` (without bias) and `horizontal`.

  Attributes:
    features: output channels.
    kernel_size: window, one int or (height, width).
    stride: one int or (height, width).
    padding: see `Conv`.
    between: channels between the two steps; default: `features`.
    use_bias: whether the second step has a bias.
    dtype: type of the computation.
    fit: see `Conv`.
    conv: factory of both steps.
    kernel_init: default Kaiming fan-out.
  """

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  between: int | None = None
  use_bias: bool = True
  dtype: DType = None
  fit: str = "exact"
  conv: LayerFactory = Conv
  kernel_init: Initializer = kaiming_fan_out()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, in] to [batch, out height, out width, features]."""
    height, width = geometry.pair(self.kernel_size, "kernel_size")
    down, across = geometry.pair(self.stride, "stride")
    pads = geometry.padding_pairs(self.padding)
    vertical = "same" if isinstance(pads, str) else (pads[0], (0, 0))
    horizontal = "same" if isinstance(pads, str) else ((0, 0), pads[1])
    shared = {"dtype": self.dtype, "kernel_init": self.kernel_init, "fit": self.fit}
    x = self.conv(
      self.between or self.features,
      (height, 1),
      stride=(down, 1),
      padding=vertical,
      use_bias=False,
      name="vertical",
      **shared,
    )(x)
    return self.conv(
      self.features,
      (1, width),
      stride=(1, across),
      padding=horizontal,
      use_bias=self.use_bias,
      name="horizontal",
      **shared,
    )(x)
