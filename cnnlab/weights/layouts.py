"""Which axes of a kernel are its inputs and outputs, in the file and here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np
from flax import linen as nn

from cnnlab.errors import unknown
from cnnlab.weights.names import ParameterPath, TensorSource
from cnnlab.weights.reading import WeightsError

Order: TypeAlias = Literal["channels_first", "channels_last"]
Layout: TypeAlias = Literal["auto", "channels_first", "channels_last"]
ORDERS: tuple[Order, ...] = get_args(Order)


class Kernel(NamedTuple):
  """A kernel of a file and its shape here."""

  array: np.ndarray
  shape: tuple[int, ...]
  place: TensorSource

  def ordered(self, order: Order) -> np.ndarray:
    """Returns the kernel as here, [..., in, out], if the file has it in an order.

    Kernels with channels first are [out, in, ...], as PyTorch has them, with channels last
    [..., in, out], as Keras and JAX do. If the model has a convolution over a whole map instead
    of a fully connected layer, the kernel gets its shape.
    """
    array, shape = self.array, self.shape
    whole = array.ndim == 2 and len(shape) == 4 and array.size == np.prod(shape)
    if order == "channels_last":
      return array.reshape(shape) if whole else array
    if array.ndim == 4:
      return array.transpose(2, 3, 1, 0)
    if whole:
      height, width, channels, out = shape
      return array.reshape(out, channels, height, width).transpose(2, 3, 1, 0)
    flattened = self.place.flattened
    if flattened and array.ndim == 2 and array.shape[1] % flattened == 0:
      # The inputs are a [C,H,W] map there, [H,W,C] here.
      maps = array.reshape(array.shape[0], flattened, -1)
      return maps.transpose(2, 1, 0).reshape(-1, array.shape[0])
    return array.T


def order_of(kernels: Iterable[Kernel], layout: Layout) -> Order:
  """Returns the order of a file's kernels: `layout`, or the one in which they fit the model.

  Raises:
    WeightsError: all kernels fit in both orders, or an unknown layout.
  """
  if layout not in get_args(Layout):
    raise WeightsError(unknown("layout", layout, get_args(Layout)))
  if layout != "auto":
    return layout
  known = list(kernels)
  fitting = {o: sum(k.ordered(o).shape == k.shape for k in known) for o in ORDERS}
  if known and all(count == len(known) for count in fitting.values()):
    raise WeightsError(
      "the weights' kernels fit the model as [out, in, ...] and as [..., in, out]: say which they are by "
      "layout='channels_first' (PyTorch's) or 'channels_last' (Keras's and JAX's)"
    )
  return max(ORDERS, key=lambda order: fitting[order])


def flattened_inputs(initial: Callable[[], Any]) -> dict[ParameterPath, int]:
  """Returns the fully connected kernels over a flattened map, with the map's number of channels.

  Args:
    initial: initializes a network and applies it; it is traced, not computed.
  """
  found: dict[ParameterPath, int] = {}
  channels = 0  # of the last map that no fully connected layer has followed yet

  def record(
    call: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
  ) -> Any:
    nonlocal channels
    module = context.module
    if isinstance(module, nn.Dense) and channels and args and args[0].ndim == 2:
      if args[0].shape[1] != channels:  # else it is the mean over the map
        found["params", *module.path, "kernel"] = channels
      channels = 0
    out = call(*args, **kwargs)
    if (axes := getattr(out, "ndim", 0)) in (3, 4):  # tokens are no map
      channels = out.shape[-1] if axes == 4 else 0
    return out

  with nn.intercept_methods(record):
    jax.eval_shape(lambda: initial())  # not from the cache of an earlier trace
  return found
