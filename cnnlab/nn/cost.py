"""Cost of a function, counted from its trace without running it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, cast

import jax
from jax.extend import core

from cnnlab import native
from cnnlab.types import PyTree

Atom = core.Var | core.Literal  # what an equation of a jaxpr reads


def multiply_adds(fn: Callable[..., PyTree], *args: PyTree) -> int:
  """Counts the multiply-adds of all convolutions and matrix products in `fn(*args)`.

  The batch is included. Padding counts as if it were multiplied, as in published figures.
  Element-wise work (norms, activations, pooling) is not counted. A conditional counts as its most
  expensive branch.

  Args:
    fn: a function of arrays that closes over everything static.
    *args: arrays or `jax.ShapeDtypeStruct`; nothing is computed.
  """
  with native.disabled():  # its calls would be opaque
    return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def count_parameters(params: PyTree) -> int:
  """Returns the number of elements in all leaves of a tree of arrays or shapes."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _count(jaxpr: core.Jaxpr) -> int:
  return sum(count_equation(equation) for equation in jaxpr.eqns)


def count_equation(equation: core.JaxprEqn) -> int:
  """Counts the multiply-adds of one equation of a jaxpr, see `multiply_adds`."""
  name, params = equation.primitive.name, equation.params
  if name == "conv_general_dilated":
    kernel = array_of(equation.invars[1]).shape
    spec = params["dimension_numbers"].rhs_spec
    per_output = math.prod(kernel) // kernel[spec[0]]
    outputs = math.prod(array_of(equation.outvars[0]).shape)
    # The zeros that a transposed convolution inserts between its inputs need no multiplication.
    return outputs * per_output // math.prod(params["lhs_dilation"])
  if name == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    shape = array_of(equation.invars[0]).shape
    return math.prod(array_of(equation.outvars[0]).shape) * math.prod(shape[i] for i in contracted)
  if name == "cond":
    return max(_count(branch.jaxpr) for branch in params["branches"])
  inner = sum(_count(jaxpr) for jaxpr in _inner(params))
  return inner * params["length"] if name == "scan" else inner


def array_of(atom: Atom) -> jax.core.ShapedArray:
  """Returns the shape and dtype of an array in a jaxpr, which JAX types as any abstract value."""
  return cast(jax.core.ShapedArray, atom.aval)


def _inner(params: Mapping[str, object]) -> list[core.Jaxpr]:
  """Returns the traces that an equation calls: jit, remat, custom derivatives, loops."""
  values = (v for value in params.values() for v in (value if _several(value) else (value,)))
  opened = (value.jaxpr if isinstance(value, core.ClosedJaxpr) else value for value in values)
  return [value for value in opened if isinstance(value, core.Jaxpr)]


def _several(value: object) -> TypeGuard[Sequence[object]]:
  return isinstance(value, (list, tuple))
