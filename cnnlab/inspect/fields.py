"""Receptive fields of the units of a traced network, propagated through its equations.

Along an image axis, a unit at index i of an array sees the pixels [start + steps·i, start +
steps·i + size): an affine function of the index, with one integer step per axis of the array.
Every primitive maps such functions to such functions, as in Araujo et al., "Computing receptive
fields of convolutional neural networks" (doi:10.23915/distill.00021), here for any graph: where
branches meet, a unit sees the hull of what it sees through each. Upsampling by f divides the step,
and its units see a step more or less of the image in turn; the field is the hull of both. Where an
equation's result is not affine, the hull over all units is an upper bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jax.extend import core

from cnnlab.nn.cost import array_of

# fmt: off
ELEMENTWISE = frozenset({
  "abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "clamp", "convert_element_type", "copy",
  "copy_p", "cos", "div", "eq", "erf", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt",
  "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne",
  "neg", "nextafter", "not", "optimization_barrier", "or", "pow", "reduce_precision", "rem",
  "round", "rsqrt", "select_n", "sign", "sin", "sqrt", "square", "stop_gradient", "sub", "tan",
  "tanh", "xor",
})
_REDUCTIONS = (
  "argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod",
  "reduce_sum",
)
# fmt: on


class Field(NamedTuple):
  """The pixels along one image axis that the units of an array see.

  Attributes:
    start: first pixel that the unit of index 0 sees; negative in the padding.
    size: number of consecutive pixels, the receptive field.
    steps: pixels between the fields of neighboring units, for each axis of the array.
    fixed: all units see the same pixels although they lie `steps` apart, as after a norm with
      statistics of the image.
  """

  start: int
  size: int
  steps: tuple[int, ...]
  fixed: bool = False


Fields = tuple[Field, Field]  # vertical, horizontal


def image_fields() -> Fields:
  """Returns the fields of the image itself, [batch, height, width, channels]."""
  return Field(0, 1, (0, 1, 0, 0)), Field(0, 1, (0, 0, 1, 0))


def propagate(
  equation: core.JaxprEqn, operands: Sequence[Fields | None], interpolates: bool = False
) -> Fields | None:
  """Returns the fields of an equation's outputs, None where they do not depend on the image.

  Args:
    equation: an equation of a jaxpr; the caller follows calls of inner jaxprs.
    operands: the fields of its inputs.
    interpolates: whether it belongs to `cnnlab.nn.resize`.
  """
  if all(operand is None for operand in operands):
    return None
  vertical, horizontal = (
    _along(
      equation, [None if operand is None else operand[axis] for operand in operands], interpolates
    )
    for axis in (0, 1)
  )
  return vertical, horizontal


def _along(equation: core.JaxprEqn, operands: list[Field | None], interpolates: bool) -> Field:
  shapes = [tuple(getattr(v.aval, "shape", ())) for v in equation.invars]
  rank = len(array_of(equation.outvars[0]).shape)
  name = equation.primitive.name
  rule = _resized if interpolates and name == "dot_general" else _RULES.get(name)
  moved = []
  for number, (field, shape) in enumerate(zip(operands, shapes, strict=True)):
    if field is None:
      continue
    found = rule(equation, field, shape, number) if rule else None
    moved.append(found or collapse(field, shape, rank))
  return _join(moved, array_of(equation.outvars[0]).shape)


def collapse(field: Field, shape: Sequence[int], rank: int) -> Field:
  """Returns the hull of what all units of an array of that shape see, as fields of rank `rank`."""
  return _absorbed(field, shape, range(len(shape)))._replace(steps=(0,) * rank)


def _absorbed(
  field: Field, shape: Sequence[int], axes: Iterable[int], spans: Mapping[int, int] | None = None
) -> Field:
  """Returns the field of a unit that combines `spans` (default: all) indices of some axes."""
  start, size = field.start, field.size
  for axis in axes:
    count = shape[axis] if spans is None else spans[axis]
    reach = field.steps[axis] * (count - 1)
    if not field.fixed:
      start, size = start + min(reach, 0), size + abs(reach)
  return field._replace(start=start, size=size)


def _shifted(field: Field, axis: int, by: int) -> int:
  return 0 if field.fixed else field.steps[axis] * by


def _join(fields: list[Field], shape: Sequence[int]) -> Field:
  """Returns the hull of the fields of arrays of one shape that are combined element by element.

  If their steps differ, no step is right for all, and the result is the hull over all units.
  """
  long = [axis for axis, count in enumerate(shape) if count > 1]
  apart = len({tuple(f.steps[axis] for axis in long) for f in fields}) > 1
  fixed = apart or any(f.fixed for f in fields)
  if fixed:
    fields = [_absorbed(f, shape, long) for f in fields]
  start = min(f.start for f in fields)
  size = max(f.start + f.size for f in fields) - start
  steps = max((f.steps for f in fields), key=lambda s: max((abs(v) for v in s), default=0))
  return Field(start, size, steps, fixed)


def _elementwise(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  rank = len(array_of(equation.outvars[0]).shape)
  return field if len(shape) == rank else None


def _broadcast(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  if number:
    return None
  target, axes = equation.params["shape"], equation.params["broadcast_dimensions"]
  steps = [0] * len(target)
  for axis, place in enumerate(axes):
    steps[place] = field.steps[axis] if shape[axis] == target[place] else 0
  return field._replace(steps=tuple(steps))


def _reshape(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  """Splits axes exactly; merged axes whose steps do not continue each other are absorbed."""
  target = array_of(equation.outvars[0]).shape
  steps = [0] * len(target)
  for sources, places in _groups(shape, target):
    real = [axis for axis in sources if shape[axis] > 1]
    if any(field.steps[a] != field.steps[b] * shape[b] for a, b in itertools.pairwise(real)):
      field = _absorbed(field, shape, real)
      continue
    step = field.steps[real[-1]] if real else 0
    for place in reversed(places):
      steps[place] = step if target[place] > 1 else 0
      step *= target[place]
  return field._replace(steps=tuple(steps))


def _groups(shape: Sequence[int], target: Sequence[int]) -> list[tuple[list[int], list[int]]]:
  """Returns the shortest runs of axes of both shapes that hold equally many elements."""
  groups: list[tuple[list[int], list[int]]] = []
  sources: list[int] = []
  places: list[int] = []
  i = j = 0
  while i < len(shape) or j < len(target):
    here, there = (math.prod(shape[a] for a in sources), math.prod(target[a] for a in places))
    if sources and places and here == there:
      groups.append((sources, places))
      sources, places = [], []
    elif i < len(shape) and (not sources or j == len(target) or (places and here < there)):
      sources.append(i)
      i += 1
    else:
      places.append(j)
      j += 1
  return [*groups, (sources, places)]


def _transpose(equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int) -> Field:
  return field._replace(steps=tuple(field.steps[a] for a in equation.params["permutation"]))


def _squeeze(equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int) -> Field:
  gone = equation.params["dimensions"]
  return field._replace(steps=tuple(s for a, s in enumerate(field.steps) if a not in gone))


def _reduce(equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int) -> Field:
  axes = equation.params["axes"]
  seen = _absorbed(field, shape, axes)
  return seen._replace(steps=tuple(s for a, s in enumerate(field.steps) if a not in axes))


def _slice(equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int) -> Field:
  strides = equation.params["strides"] or (1,) * len(shape)
  shift = sum(_shifted(field, a, s) for a, s in enumerate(equation.params["start_indices"]))
  steps = tuple(s * stride for s, stride in zip(field.steps, strides, strict=True))
  return field._replace(start=field.start + shift, steps=steps)


def _pad(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  config = equation.params["padding_config"]
  if number or any(inner and field.steps[a] for a, (_, _, inner) in enumerate(config)):
    return None
  shift = sum(_shifted(field, a, -low) for a, (low, _, _) in enumerate(config))
  return field._replace(start=field.start + shift)


def _concatenate(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  return None if field.steps[equation.params["dimension"]] else field


def _conv(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  params, spec = equation.params, equation.params["dimension_numbers"]
  if number:
    return None
  kernel = array_of(equation.invars[1]).shape
  batch, channels, *places = spec.lhs_spec
  field = _absorbed(field, shape, [channels])
  steps = [0] * len(shape)
  steps[spec.out_spec[0]] = field.steps[batch]
  for k, place in enumerate(places):
    window = kernel[spec.rhs_spec[2 + k]]
    span = params["rhs_dilation"][k] * (window - 1) + 1
    low, stride = params["padding"][k][0], params["window_strides"][k]
    # A transposed convolution's window slides over the inputs with zeros between them.
    step, apart = divmod(field.steps[place], params["lhs_dilation"][k])
    if apart:
      return None
    finer = field._replace(steps=(*field.steps[:place], step, *field.steps[place + 1 :]))
    field = _windowed(finer, place, span, low)._replace(steps=field.steps)
    steps[spec.out_spec[2 + k]] = step * stride
  return field._replace(steps=tuple(steps))


def _windowed(field: Field, axis: int, span: int, low: int) -> Field:
  start = field.start + _shifted(field, axis, -low)
  return _absorbed(field._replace(start=start), (), [axis], {axis: span})


def _reduce_window(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  params = equation.params
  ones = (1,) * len(shape)
  if any(d != 1 for d in params.get("base_dilation") or ones):
    return None
  dilations = params.get("window_dilation") or ones
  for axis, window in enumerate(params["window_dimensions"]):
    span = dilations[axis] * (window - 1) + 1
    field = _windowed(field, axis, span, params["padding"][axis][0])
  strides = params["window_strides"]
  return field._replace(steps=tuple(s * k for s, k in zip(field.steps, strides, strict=True)))


def _dot(equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int) -> Field:
  contracted, batched = equation.params["dimension_numbers"]
  field = _absorbed(field, shape, contracted[number])
  own = [a for a in range(len(shape)) if a not in (*contracted[number], *batched[number])]
  rank = len(array_of(equation.outvars[0]).shape)
  steps = [0] * rank
  first = len(batched[0]) if number == 0 else rank - len(own)
  for place, axis in [*enumerate(batched[number]), *enumerate(own, first)]:
    steps[place] = field.steps[axis]
  return field._replace(steps=tuple(steps))


def _resized(
  equation: core.JaxprEqn, field: Field, shape: tuple[int, ...], number: int
) -> Field | None:
  """Returns the fields after interpolation along an axis, a product with that axis's weights.

  A unit reads the two inputs next to it. None if its step would be no whole number of pixels.
  """
  contracted, _ = equation.params["dimension_numbers"]
  weights = array_of(equation.invars[1 - number]).shape
  axis = contracted[number][0]
  step, apart = divmod(field.steps[axis] * shape[axis], weights[1 - contracted[1 - number][0]])
  if apart or field.fixed:
    return None
  steps = [s for a, s in enumerate(field.steps) if a != axis]
  steps.insert(0 if number else len(steps), step)
  reach = field.steps[axis]
  start = field.start - reach - reach // 2
  return Field(start, field.size + 2 * reach + reach // 2, tuple(steps))


_RULES = (
  dict.fromkeys(ELEMENTWISE, _elementwise)
  | dict.fromkeys(_REDUCTIONS, _reduce)
  | {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "pad": _pad,
    "reduce_window_max": _reduce_window,
    "reduce_window_min": _reduce_window,
    "reduce_window_sum": _reduce_window,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
  }
)
