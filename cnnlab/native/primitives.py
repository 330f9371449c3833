"""JAX primitives that a handler of the native library computes on a CPU, and XLA elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import batching, mlir

# jax.interpreters has no public types: contexts, operands and avals are whatever JAX passes.
Rule = Callable[..., Any]


def native_primitive(
  name: str,
  function: Callable[..., Any],
  attributes: Callable[..., dict[str, Any]] = dict,
  *,
  multiple: bool = False,
  handler: bool = True,
  in_place: bool = False,
) -> core.Primitive:
  """Returns a primitive with abstract values, evaluation, lowering and batching.

  Args:
    name: of the primitive and of the handler.
    function: the same in `jax.numpy`; it computes the primitive wherever the handler does not, and
      defines its shapes.
    attributes: from the primitive's parameters to the handler's attributes.
    multiple: whether `function` returns a tuple.
    handler: whether there is a handler; without one, only the derivatives are native.
    in_place: whether the result takes the memory of the first operand.
  """
  primitive = core.Primitive(name)
  primitive.multiple_results = multiple
  xla_rule = mlir.lower_fun(lambda *a, **p: _several(function(*a, **p)), multiple_results=True)
  aliases = {0: 0} if in_place else None
  native_rule = jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)

  def lower(context: Any, *operands: Any, **params: Any) -> Any:
    rule = xla_rule
    if not _is_partitioned(context.module_context.axis_context):
      rule, params = native_rule, attributes(**params)
    return rule(context, *operands, **params)

  def abstract(*operands: Any, **params: Any) -> Any:
    operands = tuple(jax.core.ShapedArray(x.shape, x.dtype) for x in operands)
    shapes = _shapes(function, *operands, **params)
    return list(shapes) if multiple else shapes[0]

  primitive.def_abstract_eval(abstract)
  primitive.def_impl(lambda *operands, **params: _compiled(primitive, **params)(*operands))
  mlir.register_lowering(primitive, xla_rule)
  if handler:
    mlir.register_lowering(primitive, lower, platform="cpu")
  batching.primitive_batchers[primitive] = partial(batch_by_xla, function)
  return primitive


def _is_partitioned(axes: Any) -> bool:
  """Returns whether XLA divides the program between devices: it cannot divide an unknown call."""
  if hasattr(axes, "manual_axes"):  # inside a shard_map
    return set(axes.manual_axes) != set(axes.mesh.axis_names)
  return (getattr(axes, "num_devices", None) or 1) > 1


def batch_by_xla(
  function: Callable[..., Any], operands: Sequence[Any], axes: Sequence[Any], **params: Any
) -> tuple[Any, Any]:
  """Batches `function`: the batching rule of primitives whose handler knows no batches."""
  out = jax.vmap(partial(function, **params), in_axes=tuple(axes))(*operands)
  return out, (0,) * len(out) if isinstance(out, tuple) else 0


@functools.cache  # a deep network asks for the same shapes many times
def _shapes(function: Callable[..., Any], *operands: Any, **params: Any) -> tuple[Any, ...]:
  shapes = _several(jax.eval_shape(partial(function, **params), *operands))
  return tuple(jax.core.ShapedArray(shape.shape, shape.dtype) for shape in shapes)


@functools.cache
def _compiled(primitive: core.Primitive, **params: Any) -> Callable[..., Any]:
  return jax.jit(partial(primitive.bind, **params))


def _several(out: Any) -> tuple[Any, ...]:
  return out if isinstance(out, tuple) else (out,)
