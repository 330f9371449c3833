"""Output, cost, receptive field and kept memory of each layer, read from a network's trace.

The network is traced on shapes, never run. Flax and the poolings name the scope of each equation,
so that every equation can be attributed to a layer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.module import Args, InterceptorContext, Kwargs, NextGetter
from flax.typing import Collection, VariableDict
from jax.extend import core

from cnnlab import native
from cnnlab.errors import ShapeError
from cnnlab.inspect.fields import ELEMENTWISE, Fields, image_fields, propagate
from cnnlab.nn.cost import array_of, count_equation
from cnnlab.types import PyTree

POOLS = (
  "max_pool",
  "avg_pool",
  "global_avg_pool",
  "global_max_pool",
  "adaptive_avg_pool",
  "adaptive_max_pool",
  "resize",
)
_VIEWS = ("reshape", "squeeze", "transpose", "stop_gradient", "copy", "copy_p")
_KEEP_OUTPUT = ("cbrt", "exp", "exp2", "logistic", "max", "min", "rsqrt", "sqrt", "tanh")
_KEEP_INPUT = (
  "clamp",
  "cos",
  "erf",
  "erfc",
  "expm1",
  "integer_pow",
  "log",
  "log1p",
  "sin",
  "square",
)
_KEEP_FACTORS = ("div", "mul", "pow")

ModulePath = tuple[str, ...]


@dataclasses.dataclass
class Layer:
  """A layer of a trace; sizes are of one example.

  Attributes:
    path: module names from the net down to the layer, and the pooling's name.
    kind: its class, or the pooling's name.
    shape: of the output, without the batch.
    parameters: number of elements of the parameters that it owns.
    multiply_adds: of its convolutions and matrix products.
    fields: the receptive fields of its outputs; None where they do not depend on the image.
    output_bytes: size of the output, and of the gradient with respect to it.
    kept_bytes: size of the arrays made here that the backward pass needs.
  """

  path: ModulePath
  kind: str
  shape: tuple[int, ...] = ()
  parameters: int = 0
  multiply_adds: int = 0
  fields: Fields | None = None
  output_bytes: int = 0
  kept_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Trace:
  """A network's layers in execution order, and its variables' shapes by collection."""

  layers: list[Layer]
  variables: dict[str, Collection]


def trace(model: nn.Module, image_shape: tuple[int, int, int]) -> Trace:
  """Traces a network's forward pass on one image, as in evaluation.

  Args:
    model: as `cnnlab.models.create_model` builds it.
    image_shape: (height, width, channels).

  Raises:
    ShapeError: the image is too small for the network, or is not (height, width, channels).
  """
  if len(image_shape) != 3 or min(image_shape) < 1:
    raise ShapeError(
      f"image_shape must be (height, width, channels), all positive, got {image_shape}"
    )
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  # Of all modules, and of those that run in evaluation.
  built: dict[ModulePath, str] = {}
  kinds: dict[ModulePath, str] = {}

  def recorded(found: dict[ModulePath, str]) -> AbstractContextManager:
    def record(call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
      found[context.module.path] = type(context.module).__name__
      return call(*args, **kwargs)

    return nn.intercept_methods(record)

  def init(x: jax.Array) -> VariableDict:
    return model.init({"params": jax.random.key(0), "dropout": jax.random.key(0)}, x, train=False)

  def forward(x: jax.Array, variables: VariableDict) -> PyTree:
    return model.apply(variables, x, train=False)[0]

  with recorded(built):
    variables = dict(jax.eval_shape(init, image))
  with native.disabled(), recorded(kinds):
    closed = jax.make_jaxpr(forward)(image, variables)
  params = variables.get("params", {})
  walk = _Walk(kinds, {names for names, _ in _owned(params)})
  walk.fields[closed.jaxpr.invars[0]] = image_fields()
  walk.kept.add(closed.jaxpr.invars[0])  # counted as the batch
  walk.follow(closed.jaxpr, ())
  return Trace(_with_parameters(walk.layers, built, params), variables)


def receptive_fields(
  fn: Callable[[jax.Array], PyTree], image_shape: tuple[int, int, int]
) -> PyTree:
  """Returns the receptive fields of each output of `fn`, in the structure of its result.

  Args:
    fn: a function of images [1, height, width, channels] that closes over its variables.
    image_shape: (height, width, channels).

  Returns:
    The `Fields` of each array, or None where it does not depend on the image.
  """
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  with native.disabled():
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(image)
  walk = _Walk({}, set())
  walk.fields[closed.jaxpr.invars[0]] = image_fields()
  walk.follow(closed.jaxpr, ())
  found = [
    None if isinstance(out, core.Literal) else walk.fields.get(out) for out in closed.jaxpr.outvars
  ]
  return jax.tree.unflatten(jax.tree.structure(shapes), found)


class _Walk:
  """Visits the equations once, in order, including those of inner traces.

  Equations outside any layer (activations, sums, concatenations) count as part of the layer that
  ran last, except for matrix products, such as attention's, which get a row of their own.
  """

  def __init__(self, kinds: dict[ModulePath, str], owners: set[ModulePath]):
    self.kinds = kinds
    parents = {path[:-1] for path in kinds}
    childless = {path for path in kinds if path and path not in parents}
    self.leaves = {path for path in childless if path in owners or "Norm" in kinds[path]}
    self.layers: list[Layer] = [Layer((), kinds.get((), ""))]
    self.fields: dict[core.Var, Fields] = {}
    self.roots: dict[core.Var, core.Var] = {}  # array -> the array that it is a view of
    self.makers: dict[core.Var, Layer] = {}
    self.kept: set[core.Var] = set()

  def follow(self, jaxpr: core.Jaxpr, scopes: ModulePath) -> None:
    """Visits the equations of a trace whose scope names begin with `scopes`."""
    for equation in jaxpr.eqns:
      here = (*scopes, *filter(None, str(equation.source_info.name_stack).split("/")))
      inner = _inner(equation)
      if inner is not None and not _is_activation(equation, inner):
        self._enter(equation, inner, here)
      else:
        self._visit(equation, here, activation=inner is not None)

  def _enter(self, equation: core.JaxprEqn, inner: core.Jaxpr, here: ModulePath) -> None:
    """Follows a call, whose inner trace shares inputs and outputs with the equation."""
    for outer, own in zip(equation.invars, inner.invars, strict=True):
      if not isinstance(outer, core.Literal) and outer in self.fields:
        self.fields[own] = self.fields[outer]
        self.roots[own] = self._root(outer)
    self.follow(inner, here)
    for out, result in zip(equation.outvars, inner.outvars, strict=True):
      if not isinstance(result, core.Literal) and result in self.fields:
        self.fields[out] = self.fields[result]
        self.roots[out] = self._root(result)
    if here and here[-1] in POOLS and equation.outvars[0] in self.fields:
      self._output(self.layers[-1], equation.outvars[0])

  def _visit(self, equation: core.JaxprEqn, here: ModulePath, activation: bool) -> None:
    operands = [
      None if isinstance(v, core.Literal) else self.fields.get(v) for v in equation.invars
    ]
    if activation:
      found = next((o for o in operands if o is not None), None)
    else:
      found = propagate(equation, operands, interpolates="resize" in here)
    cost = count_equation(equation)
    layer, own = self._layer(here, cost > 0)
    layer.multiply_adds += cost
    if found is None:
      return
    for out in equation.outvars:
      self.fields[out] = found
      self.makers[out] = layer
    reads = zip(equation.invars, operands, strict=True)
    seen = [v for v, o in reads if o is not None and not isinstance(v, core.Literal)]
    self._keep(equation, layer, own, seen, activation)
    if _is_cheap(equation):
      self.roots[equation.outvars[0]] = self._root(seen[0])
    if own:
      self._output(layer, equation.outvars[0])

  def _output(self, layer: Layer, out: core.Var) -> None:
    array = array_of(out)
    layer.shape, layer.fields = tuple(array.shape[1:]), self.fields[out]
    layer.output_bytes = array.size * array.dtype.itemsize
    if layer.kind == "max_pool":  # one byte per output for the position of the maximum
      layer.kept_bytes = math.prod(layer.shape)

  def _layer(self, here: ModulePath, multiplies: bool) -> tuple[Layer, bool]:
    """Returns the layer that an equation belongs to, and whether it is inside that layer."""
    path, kind = self._resolve(here)
    inside = bool(kind) or path in self.leaves or multiplies
    last = self.layers[-1]
    if not inside or (last.path, last.kind) == (path, kind or self.kinds.get(path, "")):
      return last, inside and bool(path)
    self.layers.append(Layer(path, kind or self.kinds.get(path, "")))
    return self.layers[-1], True

  def _resolve(self, here: ModulePath) -> tuple[ModulePath, str]:
    """Returns the path of the innermost module (or pooling) of a scope, and the pooling's name."""
    path: ModulePath = ()
    for name in here:
      if name in POOLS:
        return (*path, name), name
      if (*path, name) in self.kinds:
        path = (*path, name)
    return path, ""

  def _keep(
    self, equation: core.JaxprEqn, layer: Layer, own: bool, seen: list[core.Var], activation: bool
  ) -> None:
    """Marks the arrays that the gradient of an equation is computed from."""
    name, out = equation.primitive.name, equation.outvars[0]
    if own and layer.kind in POOLS:
      needed: list[core.Var] = []
    elif own and "Norm" in layer.kind and not layer.kind.startswith("WeightNorm"):
      # A norm's backward pass needs its input; the rest follows from that and the statistics.
      needed = [v for v in seen if self.makers.get(self._root(v)) is not layer]
    elif activation:
      needed = [out] if _keeps_output(equation) else seen[:1]
    elif name in ("conv_general_dilated", "dot_general"):
      needed = seen
    elif name in _KEEP_FACTORS:
      needed = seen if len(seen) > 1 else []
    elif name in _KEEP_OUTPUT:
      needed = [out]
    elif name in _KEEP_INPUT:
      needed = seen
    else:
      needed = []
    for array in needed:
      self._keep_array(self._root(array), layer)

  def _keep_array(self, array: core.Var, layer: Layer) -> None:
    if array not in self.kept:
      self.kept.add(array)
      maker = self.makers.get(array, layer)
      maker.kept_bytes += array_of(array).size * array_of(array).dtype.itemsize

  def _root(self, array: core.Var) -> core.Var:
    return self.roots.get(array, array)


def _is_cheap(equation: core.JaxprEqn) -> bool:
  """Returns whether an output is a view of its only input array, or a scaled or mapped copy.

  The backward pass can recompute it from that array, which is then kept in its place.
  """
  name = equation.primitive.name
  if name in _VIEWS:
    return True
  arrays = [v for v in equation.invars if getattr(v.aval, "shape", ())]
  return len(arrays) == 1 and name in (*_KEEP_INPUT, "add", "div", "mul", "neg", "sub")


def _inner(equation: core.JaxprEqn) -> core.Jaxpr | None:
  """Returns the trace that an equation calls, or None if there is none or more than one."""
  for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
    found = equation.params.get(name)
    found = found.jaxpr if isinstance(found, core.ClosedJaxpr) else found
    same = isinstance(found, core.Jaxpr) and len(found.invars) == len(equation.invars)
    if same and equation.primitive.name not in ("scan", "while"):
      return found
  return None


def _is_activation(equation: core.JaxprEqn, inner: core.Jaxpr) -> bool:
  """Returns whether a call maps one array element by element, as `jit(gelu)` does."""
  shape = array_of(equation.outvars[0]).shape
  arrays = [v for v in equation.invars if getattr(v.aval, "shape", ()) == shape and shape]
  return len(arrays) == 1 == len(equation.outvars) and all(map(_pointwise, inner.eqns))


def _pointwise(equation: core.JaxprEqn) -> bool:
  inner = _inner(equation)
  if inner is not None:
    return all(map(_pointwise, inner.eqns))
  scalar = all(not getattr(v.aval, "shape", ()) for v in equation.invars)
  return equation.primitive.name in ELEMENTWISE or (
    equation.primitive.name == "broadcast_in_dim" and scalar
  )


def _keeps_output(equation: core.JaxprEqn) -> bool:
  """Returns whether an activation's gradient follows from its output, as ReLU's does."""
  inner = _inner(equation)
  if inner is None:
    return equation.primitive.name in _KEEP_OUTPUT or equation.primitive.name in _VIEWS
  return len(inner.eqns) == 1 and _keeps_output(inner.eqns[0])


def _with_parameters(
  layers: list[Layer], kinds: dict[ModulePath, str], params: Collection
) -> list[Layer]:
  """Attributes each parameter to its module, and adds a row for modules that have none yet.

  Auxiliary classifiers, which run in training only, come last.
  """
  rows: dict[ModulePath, Layer] = {}
  for layer in layers:
    rows.setdefault(layer.path, layer)
  for names, count in _owned(params):
    path = next(p for p in (names[:n] for n in range(len(names), -1, -1)) if p in kinds or not p)
    if path not in rows:
      rows[path] = Layer(path, kinds.get(path, ""))
      first = next((i for i, x in enumerate(layers) if x.path[: len(path)] == path), len(layers))
      layers.insert(first, rows[path])
    rows[path].parameters += count
  return [x for x in layers if x.shape or x.parameters or x.multiply_adds or x.kept_bytes]


def _owned(params: Collection) -> list[tuple[ModulePath, int]]:
  """Returns, for each parameter, the path of its module and its number of elements."""
  flat = jax.tree_util.tree_flatten_with_path(params)[0]
  return [(tuple(key.key for key in keys[:-1]), math.prod(leaf.shape)) for keys, leaf in flat]
