"""Cost of a function, counted from its trace without running it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def multiply_adds(fn: Callable[..., Any], *args: Any) -> int:
  """Counts the multiply-adds of all convolutions and matrix products in `fn(*args)`.

  The batch is included. Padding counts as if it were multiplied, as in published figures.
  Element-wise work (norms, activations, pooling) is not counted. A conditional counts as its most
  expensive branch.

  Args:
    fn: a function of arrays that closes over everything static.
    *args: arrays or `jax.ShapeDtypeStruct`; nothing is computed.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def count_parameters(params: Any) -> int:
  """Returns the number of elements in all leaves of a tree of arrays or shapes."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _count(jaxpr: Any) -> int:
  return sum(count_equation(equation) for equation in jaxpr.eqns)


def count_equation(equation: Any) -> int:
  """Counts the multiply-adds of one equation of a jaxpr, see `multiply_adds`."""
  name, params = equation.primitive.name, equation.params
  if name == "conv_general_dilated":
    kernel = equation.invars[1].aval.shape
    spec = params["dimension_numbers"].rhs_spec
    per_output = math.prod(kernel) // kernel[spec[0]]
    outputs = math.prod(equation.outvars[0].aval.shape)
    # The zeros that a transposed convolution inserts between its inputs need no multiplication.
    return outputs * per_output // math.prod(params["lhs_dilation"])
  if name == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return math.prod(equation.outvars[0].aval.shape) * math.prod(shape[i] for i in contracted)
  if name == "cond":
    return max(_count(branch.jaxpr) for branch in params["branches"])
  inner = sum(_count(jaxpr) for jaxpr in _inner(params))
  return inner * params["length"] if name == "scan" else inner


def _inner(params: dict[str, Any]) -> list[Any]:
  """Returns the traces that an equation calls: jit, remat, custom derivatives, loops."""
  values = (v for value in params.values() for v in (value if _several(value) else (value,)))
  opened = (value.jaxpr if isinstance(value, core.ClosedJaxpr) else value for value in values)
  return [value for value in opened if isinstance(value, core.Jaxpr)]


def _several(value: Any) -> bool:
  return isinstance(value, (list, tuple))
