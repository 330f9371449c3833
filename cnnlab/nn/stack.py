"""Arithmetic of a stack of layers: sizes, parameters, strides and receptive fields.

Nothing is computed or traced: this is the table that lecture notes derive by hand. Receptive
fields follow Araujo et al., "Computing receptive fields of convolutional neural networks"
(doi:10.23915/distill.00021).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnnlab.errors import ConfigError
from cnnlab.nn import geometry


class Window(NamedTuple):
  """A convolution or pooling in a stack.

  Attributes:
    size: window F, one int or (height, width), like all sizes here.
    stride: step S.
    padding: see `geometry.padding_pairs`.
    dilation: distance between the window's taps.
    features: output channels of a convolution; None for pooling, which keeps its channels.
    groups: groups of a convolution.
    use_bias: whether a convolution has a bias.
    fit: 'exact', 'crop' or 'pad', see `geometry.fit_axis`.
    name: name in the table and in messages; default: its number.
  """

  size: int | Sequence[int]
  stride: int | Sequence[int] = 1
  padding: geometry.Padding = 0
  dilation: int | Sequence[int] = 1
  features: int | None = None
  groups: int = 1
  use_bias: bool = True
  fit: str = "exact"
  name: str = ""


class Row(NamedTuple):
  """Properties of a layer and its output; pairs are (height, width), in pixels of the input image.

  Attributes:
    name: the layer's name.
    size: size of the output, in its own pixels.
    channels: channels of the output.
    parameters: number of parameters of this layer.
    multiply_adds: multiply-adds of this layer for one example; 0 for pooling.
    receptive_field: pixels that a unit sees.
    stride: pixels between the fields of neighboring units.
    start: first pixel of the first unit's field; negative in the padding.
  """

  name: str
  size: geometry.Pair
  channels: int
  parameters: int
  multiply_adds: int
  receptive_field: geometry.Pair
  stride: geometry.Pair
  start: geometry.Pair

  def sees(self, position: Sequence[int]) -> tuple[geometry.Pair, geometry.Pair]:
    """Returns the first and last pixel, as ((top, bottom), (left, right)), that a unit sees.

    Padding counts: pixels before the first and after the last of the image may be included. If a
    layer crops, units at the far border see less.
    """
    first = [s + p * step for s, p, step in zip(self.start, position, self.stride, strict=True)]
    top, left = first
    height, width = self.receptive_field
    return (top, top + height - 1), (left, left + width - 1)


def stack(layers: Iterable[Window], size: int | Sequence[int], channels: int) -> list[Row]:
  """Computes the arithmetic of an image that passes through a stack of layers.

  Args:
    layers: the layers in order, starting at the image.
    size: size of the image, one int or (height, width).
    channels: channels of the image.

  Returns:
    One row per layer.

  Raises:
    ShapeError: if a layer does not fit; the message names the sizes that do.
    ConfigError: for invalid options, or groups that do not divide the channels.
  """
  here = geometry.pair(size, "size")
  field, stride, start = (1, 1), (1, 1), (0, 0)
  rows = []
  for number, layer in enumerate(layers, 1):
    name = layer.name or f"layer {number}"
    window, dilation = geometry.pair(layer.size, "size"), geometry.pair(layer.dilation, "dilation")
    axes = geometry.fit_image(here, window, layer.stride, layer.padding, dilation, layer.fit, name)
    reach = [d * (f - 1) for d, f in zip(dilation, window, strict=True)]
    start = _both(s - axis.low * step for s, axis, step in zip(start, axes, stride, strict=True))
    field = _both(r + more * step for r, more, step in zip(field, reach, stride, strict=True))
    steps = geometry.pair(layer.stride, "stride")
    stride = _both(s * step for s, step in zip(stride, steps, strict=True))
    here = (axes[0].out, axes[1].out)
    parameters = multiply_adds = 0
    if layer.features is not None:
      if channels % layer.groups or layer.features % layer.groups:
        raise ConfigError(
          f"{name}: groups={layer.groups} does not divide {channels} and {layer.features} channels"
        )
      shape = (window, channels, layer.features, layer.groups)
      parameters = geometry.conv_parameters(*shape, use_bias=layer.use_bias)
      multiply_adds = here[0] * here[1] * geometry.conv_parameters(*shape, use_bias=False)
      channels = layer.features
    rows.append(Row(name, here, channels, parameters, multiply_adds, field, stride, start))
  return rows


def nearest_sizes(layers: Sequence[Window], size: int, count: int = 2) -> list[int]:
  """Returns the `count` square image sizes nearest to `size` that fit a whole stack exactly.

  Of two equally near sizes the smaller comes first. Empty if none lies within 10 total strides.
  """
  exact = [layer._replace(fit="exact", features=None) for layer in layers]
  reach = 10
  for layer in layers:
    reach *= max(geometry.pair(layer.stride, "stride"))

  def fits(candidate: int) -> bool:
    try:
      stack(exact, candidate, 1)
    except geometry.ShapeError:
      return False
    return True

  near = (size + sign * step for step in range(reach) for sign in ((-1, 1) if step else (1,)))
  return list(itertools.islice((c for c in near if c > 0 and fits(c)), count))


def _both(values: Iterable[int]) -> geometry.Pair:
  vertical, horizontal = values
  return vertical, horizontal
