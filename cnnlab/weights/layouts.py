"""Which axes of a kernel are its inputs and outputs, in the file and here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from cnnlab.errors import unknown
from cnnlab.weights.names import TensorSource
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
