"""Transposed convolution, the gradient of a convolution with respect to its input."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.native import convolution as native
from cnnlab.nn import geometry
from cnnlab.nn.conv import affine, check_groups, kernel_shape, require_images
from cnnlab.nn.init import Initializer, kaiming_fan_out
from cnnlab.nn.types import DType


class ConvTranspose(nn.Module):
  """Upsamples [batch, height, width, in]: every input pixel adds a multiple of the kernel.

  Output size: (W - 1)S - (P_before + P_after) + d(F - 1) + 1 + output_padding, as in PyTorch.
  Parameters: `kernel` [window height, window width, in / groups, features], `bias` [features].
  With `kernel_init=init.bilinear`, kernel 2S and padding S/2, it starts as bilinear upsampling
  (FCN, arXiv:1411.4038, 3.3); with groups = in = features, channel by channel.

  Attributes:
    features: output channels.
    kernel_size: window F.
    stride: factor S of upsampling.
    padding: pixels removed from the output's borders: int, pair, ((top, bottom), (left, right)),
      'valid' (none), or 'same' for an output of exactly W·S.
    output_padding: pixels added at the bottom and right, less than the stride or dilation.
    dilation: distance d between the window's taps.
    groups: number of independent layers side by side.
    use_bias: whether to add `bias`.
    dtype: type of the computation; parameters are float32.
    kernel_init: default Kaiming fan-out.
    bias_init: default zero.
  """

  features: int
  kernel_size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  output_padding: int | Sequence[int] = 0
  dilation: int | Sequence[int] = 1
  groups: int = 1
  use_bias: bool = True
  dtype: DType = None
  kernel_init: Initializer = kaiming_fan_out()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Upsamples `x`; ShapeError or ConfigError if sizes do not fit."""
    what = f"transposed conv {self.name!r}"
    require_images(x, what)
    check_groups(x.shape[3], self.features, self.groups, what)
    shape = kernel_shape(x, self.kernel_size, self.features, self.groups)
    strides = geometry.pair(self.stride, "stride")
    dilation = geometry.pair(self.dilation, "dilation")
    padding = self._padding(shape[:2], dilation, what)
    size = tuple(
      (x.shape[1 + axis] - 1) * strides[axis] + dilation[axis] * (shape[axis] - 1) + 1 - sum(pads)
      for axis, pads in enumerate(padding)
    )
    outputs = self.features // self.groups

    def apply(images: jax.Array, kernel: jax.Array) -> jax.Array:
      # The convolution of which this is the gradient has its in and out channels exchanged.
      split = kernel.reshape(*kernel.shape[:3], self.groups, outputs)
      exchanged = split.transpose(0, 1, 4, 3, 2).reshape(*shape[:2], outputs, x.shape[3])
      return native.convolve_transposed(
        images,
        exchanged,
        native.Geometry(
          image=(*size, self.features),
          kernel=exchanged.shape,
          strides=strides,
          padding=padding,
          dilation=dilation,
          groups=self.groups,
        ),
      )

    return affine(self, x, shape, apply)

  def _padding(
    self, window: Sequence[int], dilation: geometry.Pair, what: str
  ) -> tuple[geometry.Pair, geometry.Pair]:
    """Returns the zeros around the output in the convolution of which this is the gradient."""
    strides = geometry.pair(self.stride, "stride")
    extras = geometry.pair(self.output_padding, "output_padding", 0)
    pads = geometry.padding_pairs(self.padding)
    found = []
    for axis in (0, 1):
      extra = extras[axis]
      if extra and extra >= max(strides[axis], dilation[axis]):
        raise ConfigError(
          f"{what}: output_padding={self.output_padding!r} is not less than the stride or dilation"
        )
      if isinstance(pads, str):
        surplus = dilation[axis] * (window[axis] - 1) + 1 - strides[axis]
        low, high = max(surplus, 0) // 2, surplus - max(surplus, 0) // 2
      else:
        low, high = pads[axis]
      found.append((low, high - extra))
    return found[0], found[1]
