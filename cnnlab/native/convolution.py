"""Convolution and its two gradients, computed by oneDNN.

All three are bilinear, and the derivatives of each are the other two. So they are closed under
differentiation: gradients of any order and forward mode stay native.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.extend import core
from jax.interpreters import ad, batching
from jax.typing import DTypeLike

from cnnlab.native import library
from cnnlab.native.primitives import batch_by_xla, native_primitive

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Geometry:
  """What a convolution is beside its arrays.

  Attributes:
    image: (height, width, in).
    kernel: (window height, window width, in / groups, out).
    strides: (height, width).
    padding: zeros ((top, bottom), (left, right)); a negative number crops.
    dilation: (height, width).
    groups: number of channel groups.
  """

  image: tuple[int, ...]
  kernel: tuple[int, ...]
  strides: Pair
  padding: tuple[Pair, ...]
  dilation: Pair
  groups: int

  def reach(self) -> Pair:
    """Returns the height and width that the dilated window covers."""
    height, width = (
      d * (size - 1) + 1 for d, size in zip(self.dilation, self.kernel, strict=False)
    )
    return height, width


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
  """Cross-correlates images with a kernel.

  Args:
    x: [batch, height, width, in].
    kernel: [window height, window width, in / groups, out].
    geometry: how.

  Returns:
    [batch, out height, out width, out].
  """
  if _is_native(x, kernel, geometry):
    return _forward_p.bind(x, kernel, geometry=geometry)
  return convolve_by_xla(x, kernel, geometry)


def dot_general(
  lhs: Array,
  rhs: Array,
  dimension_numbers: lax.DotDimensionNumbers,
  precision: lax.PrecisionLike = None,
  preferred_element_type: DTypeLike | None = None,
) -> Array:
  """Computes `lax.dot_general`; a dense layer over the tokens of many examples is a 1x1 convolution.

  XLA:CPU transposes its operands for the gradient of such a layer, which oneDNN does not.
  """
  dense = dimension_numbers == (((lhs.ndim - 1,), (0,)), ((), ()))
  if not (dense and lhs.ndim == 3 and rhs.ndim == 2 and preferred_element_type is None):
    return lax.dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)
  image, kernel = (lhs.shape[1], 1, lhs.shape[2]), (1, 1, *rhs.shape)
  geometry = Geometry(image, kernel, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
  x, weights = lhs[:, :, None], rhs[None, None]
  if not _is_native(x, weights, geometry):
    return lax.dot_general(lhs, rhs, dimension_numbers, precision)
  return _forward_p.bind(x, weights, geometry=geometry)[:, :, 0]


def convolve_transposed(outputs: Array, kernel: Array, geometry: Geometry) -> Array:
  """Returns the gradient of a convolution with respect to its images.

  Args:
    outputs: [batch, out height, out width, out].
    kernel: [window height, window width, in / groups, out].
    geometry: of the convolution.

  Returns:
    [batch, height, width, in].
  """
  if _is_native(outputs, kernel, geometry):
    return _images_p.bind(outputs, kernel, geometry=geometry)
  return _images_by_xla(outputs, kernel, geometry)


def _is_native(x: Array, kernel: Array, geometry: Geometry) -> bool:
  """Returns whether the library is on and has this case.

  oneDNN crops less than a stride at the end of the image, and nothing at the start.
  """
  crops = (
    low < 0 or (size + low + high - reach) // stride * stride + reach - size - low <= -stride
    for (low, high), size, stride, reach in zip(
      geometry.padding, geometry.image, geometry.strides, geometry.reach(), strict=False
    )
  )
  return x.dtype == kernel.dtype and library.computes(x, kernel) and not any(crops)


def convolve_by_xla(x: Array, kernel: Array, geometry: Geometry) -> Array:
  """Returns what `convolve` does, computed by XLA."""
  return lax.conv_general_dilated(
    x,
    kernel,
    geometry.strides,
    geometry.padding,
    rhs_dilation=geometry.dilation,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=geometry.groups,
  )


def _images_by_xla(outputs: Array, kernel: Array, geometry: Geometry) -> Array:
  images = jax.ShapeDtypeStruct((outputs.shape[0], *geometry.image), outputs.dtype)
  transposed = jax.linear_transpose(lambda x: convolve_by_xla(x, kernel, geometry), images)
  return transposed(outputs)[0]


def _kernel_by_xla(x: Array, outputs: Array, geometry: Geometry) -> Array:
  kernel = jax.ShapeDtypeStruct(geometry.kernel, x.dtype)
  transposed = jax.linear_transpose(lambda k: convolve_by_xla(x, k, geometry), kernel)
  return transposed(outputs)[0]


def _attributes(geometry: Geometry) -> dict[str, Any]:
  return {
    "strides": np.array(geometry.strides, np.int64),
    "padding": np.array([low for low, _ in geometry.padding], np.int64),
    "dilation": np.array(geometry.dilation, np.int64),
    "groups": np.int64(geometry.groups),
  }


_forward_p = native_primitive("cnnlab_conv", convolve_by_xla, _attributes)
_images_p = native_primitive("cnnlab_conv_images_gradient", _images_by_xla, _attributes)
_kernel_p = native_primitive("cnnlab_conv_kernel_gradient", _kernel_by_xla, _attributes)

# For each primitive, how the cotangents of its first and second operand follow from the output's
# and the other operand.
_TRANSPOSES: dict[core.Primitive, tuple[Callable[..., Array], Callable[..., Array]]] = {
  _forward_p: (
    lambda y, kernel, **g: _images_p.bind(y, kernel, **g),
    lambda y, x, **g: _kernel_p.bind(x, y, **g),
  ),
  _images_p: (
    lambda x, kernel, **g: _forward_p.bind(x, kernel, **g),
    lambda x, y, **g: _kernel_p.bind(x, y, **g),
  ),
  _kernel_p: (
    lambda kernel, y, **g: _images_p.bind(y, kernel, **g),
    lambda kernel, x, **g: _forward_p.bind(x, kernel, **g),
  ),
}


def _differentiate(primitive: core.Primitive) -> None:
  first, second = _TRANSPOSES[primitive]

  def transpose(cotangent: Any, a: Any, b: Any, **params: Any) -> tuple[Any, Any]:
    if type(cotangent) is ad.Zero:
      return None, None
    if ad.is_undefined_primal(a):
      return first(cotangent, b, **params), None
    return None, second(cotangent, a, **params)

  ad.defjvp(
    primitive,
    lambda tangent, a, b, **params: primitive.bind(tangent, b, **params),
    lambda tangent, a, b, **params: primitive.bind(a, tangent, **params),
  )
  ad.primitive_transposes[primitive] = transpose


def _merge_batches(primitive: core.Primitive, by_xla: Callable[..., Array]) -> None:
  """A batch of batches with one kernel is a larger batch; XLA computes batches of kernels."""

  def batch(operands: Sequence[Any], axes: Sequence[Any], **params: Any) -> tuple[Array, int]:
    images, kernel = operands
    if axes[0] is None or axes[1] is not None:
      return batch_by_xla(by_xla, operands, axes, **params)
    images = jax.numpy.moveaxis(images, axes[0], 0)
    out = primitive.bind(images.reshape(-1, *images.shape[2:]), kernel, **params)
    return out.reshape(*images.shape[:2], *out.shape[1:]), 0

  batching.primitive_batchers[primitive] = batch


for _primitive in _TRANSPOSES:
  _differentiate(_primitive)
_merge_batches(_forward_p, convolve_by_xla)
_merge_batches(_images_p, _images_by_xla)
