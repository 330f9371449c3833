"""A trained network as a function of its inputs and of its maps: layers, logits and their gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.module import Args, InterceptorContext, Kwargs, NextGetter
from flax.typing import VariableDict
from jax import Array
from jax.extend import core
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError, nearest, unknown
from cnnlab.nn import WeightNormDense
from cnnlab.nn.layers import register_activation
from cnnlab.types import PyTree

if TYPE_CHECKING:
  from cnnlab.runs.trained import Trained


Result = TypeVar("Result")


class AnyNetwork(Protocol):
  """What is looked into: a `Run`, a `Trained`, or a `Network` of your own."""

  @property
  def model(self) -> nn.Module:
    """`model.apply(variables, inputs, train=False)` returns (output, feats)."""

  @property
  def variables(self) -> VariableDict:
    """Parameters and moving averages."""


class Classifier(AnyNetwork, Protocol):
  """One whose output is logits, [batch, classes]."""


class Network(NamedTuple):
  """A model with its variables; see `AnyNetwork`."""

  model: nn.Module
  variables: VariableDict


@dataclasses.dataclass(frozen=True, eq=False)
class PixelNetwork:
  """A network as a function of pixels.

  Attributes:
    model: `model.apply(variables, inputs, train=False)` returns (output, feats).
    variables: the model's.
    to_inputs: from images, float32 [batch, height, width, channels] in levels of 0 to 255, to inputs;
      traceable.
  """

  model: nn.Module
  variables: VariableDict
  to_inputs: Callable[[Array], Array]

  @classmethod
  def of(cls, trained: Trained) -> PixelNetwork:
    """Returns the network of a run, for images of any size that it takes."""
    preprocess = trained.preprocess

    def to_inputs(images: Array) -> Array:
      size = preprocess.mean.shape[:-1]
      if size and size != images.shape[1:3]:
        raise ConfigError(
          f"an image of {images.shape[1]}x{images.shape[2]}: the run subtracts a mean image, which has "
          f"{size[0]}x{size[1]} pixels; allowed: images of that size"
        )
      return preprocess.normalize(images)

    return cls(trained.model, trained.variables, to_inputs)

  def compiled(
    self, function: Callable[[PixelNetwork, Array], Result]
  ) -> Callable[[Array], Result]:
    """Returns a function of the network and an array, compiled; the variables are no constants of it."""
    run = jax.jit(lambda variables, x: function(dataclasses.replace(self, variables=variables), x))
    return partial(run, self.variables)

  def layers(self, images: Array, names: Sequence[str]) -> list[Array]:
    """Returns `layer_outputs` of images; traceable."""
    return layer_outputs(self.model, self.variables, self.to_inputs(images), names)


def logits(network: Classifier, inputs: ArrayLike) -> Array:
  """Returns the logits, float32 [batch, classes].

  Args:
    network: the classifier.
    inputs: as the network takes them, float32 [batch, height, width, channels]; see `Run.preprocess`.

  Raises:
    ConfigError: the network is no classifier.
  """
  return _logits(network.model, network.variables, jnp.asarray(inputs))


def class_indices(
  network: Classifier, inputs: ArrayLike, classes: ArrayLike | None = None
) -> np.ndarray:
  """Returns the classes whose logits are explained, int [batch]: those given, or the predicted ones.

  Raises:
    ConfigError: not one class for each image, or a class that the network does not have.
  """
  found = np.asarray(logits(network, inputs))
  if classes is None:
    return found.argmax(axis=-1)
  given = np.asarray(classes)
  if given.shape != found.shape[:1] or given.min() < 0 or given.max() >= found.shape[1]:
    raise ConfigError(
      f"classes of shape {given.shape}, from {given.min()} to {given.max()}; allowed: one for each of "
      f"{found.shape[0]} images, from 0 to {found.shape[1] - 1}"
    )
  return given


def apply(
  model: nn.Module, variables: VariableDict, inputs: Array
) -> tuple[PyTree, dict[str, PyTree]]:
  """Returns a network's output and its stages; traceable.

  Raises:
    ConfigError: parameters fit images of another size only.
  """
  try:
    out, feats = model.apply(variables, inputs, train=False)
  except flax.errors.ScopeParamShapeError as error:
    raise ConfigError(
      f"{type(model).__name__} takes images of one size only, not {inputs.shape[1]}x{inputs.shape[2]}: "
      f"{error}"
    ) from error
  return out, dict(feats)


def layer_outputs(
  model: nn.Module, variables: VariableDict, inputs: Array, names: Sequence[str]
) -> list[Array]:
  """Returns maps from inside a network, [batch, height, width, channels] each; traceable.

  Dense layers that do not fit the size of the images are passed over: only maps are asked for.

  Args:
    model, variables: of the network.
    inputs: as the network takes them.
    names: of stages, or of modules by their path, such as `conv4_2` or `stage1_block1/conv1`, whose
      output is meant. A stage goes before a module of its name.

  Raises:
    ConfigError: there is no such map, or the network takes images of another size only.
  """
  found = _recorded(model, variables, inputs)
  for name in names:
    if name not in found:
      close = nearest(name, found)
      hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
      raise ConfigError(
        f"the network has no map {name!r}{hint} Allowed: a stage, or the path of a module whose output "
        "is a map"
      )
  return [found[name] for name in names]


def _recorded(model: nn.Module, variables: VariableDict, inputs: Array) -> dict[str, Array]:
  """Returns all maps by name: of modules in the order of their calls, then the stages."""
  found: dict[str, Array] = {}

  def record(call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
    module = context.module
    try:
      out = call(*args, **kwargs)
    except flax.errors.ScopeParamShapeError:
      if not isinstance(module, (nn.Dense, WeightNormDense)):
        raise
      return jnp.zeros((*args[0].shape[:-1], module.features), args[0].dtype)
    if module.path and context.method_name == "__call__" and getattr(out, "ndim", 0) == 4:
      found["/".join(module.path)] = out
    return out

  with nn.intercept_methods(record):
    feats = apply(model, variables, inputs)[1]
  return found | {name: a for name, a in feats.items() if getattr(a, "ndim", 0) == 4}


def layers(network: AnyNetwork, image_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
  """Returns (height, width, channels) of every map that `layer_outputs` knows, stages last."""
  shapes: dict[str, tuple[int, ...]] = {}

  # The order is lost in what `eval_shape` returns, so it is recorded while tracing.
  def record(variables: VariableDict, inputs: Array) -> None:
    shapes.update({n: a.shape[1:] for n, a in _recorded(network.model, variables, inputs).items()})

  jax.eval_shape(record, network.variables, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return shapes


def stride_of(network: AnyNetwork, image_shape: tuple[int, ...]) -> tuple[int, int]:
  """Returns how many pixels there are to a position of the last map, down and across, rounded.

  Images whose sides are multiples of it have sizes that the network takes.
  """
  *_, last = layers(network, image_shape).values()
  return max(1, round(image_shape[0] / last[0])), max(1, round(image_shape[1] / last[1]))


def with_activation(
  model: nn.Module, name: str, activation: Callable[[Array], Array], method: str
) -> nn.Module:
  """Returns the network with its ReLUs replaced by a function with another gradient.

  Args:
    model: the network; of one with an encoder, that one's activation counts.
    name: of the function, under which it is registered.
    activation: the function.
    method: whose error it is.

  Raises:
    ConfigError: the network has no option `act`, or another activation there.
  """
  inner = getattr(model, "encoder", None)
  owner = inner if isinstance(inner, nn.Module) else model
  act = getattr(owner, "act", None)
  if act != "relu":
    raise ConfigError(
      f"{method} is defined for ReLUs; {type(owner).__name__} has "
      + ("no option 'act'" if act is None else f"act={act!r}; allowed: 'relu'")
    )
  register_activation(name, activation, replace=True)
  changed = owner.clone(act=name)
  return model.clone(encoder=changed) if owner is inner else changed


def maps(network: AnyNetwork, image_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
  """Returns (height, width, channels) of each stage that is a map, from input to output.

  Args:
    network: any.
    image_shape: (height, width, channels) of an input.
  """
  shapes: dict[str, tuple[int, ...]] = {}

  # The order of `feats` is lost in what `eval_shape` returns, so it is recorded while tracing.
  def record(variables: VariableDict, inputs: Array) -> None:
    for name, value in apply(network.model, variables, inputs)[1].items():
      if getattr(value, "ndim", 0) == 4:
        shapes[name] = value.shape[1:]

  jax.eval_shape(record, network.variables, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return shapes


def require_map(network: AnyNetwork, image_shape: tuple[int, ...], stage: str | None) -> str:
  """Returns the name of a stage that is a map, the last one by default.

  Raises:
    ConfigError: the network has no map of that name; its maps are named.
  """
  found = maps(network, image_shape)
  if not found:
    raise ConfigError(f"{type(network.model).__name__} has no stage that is a map")
  if stage is None:
    return list(found)[-1]
  if stage not in found:
    raise ConfigError(unknown("map of the network", stage, found))
  return stage


@partial(jax.jit, static_argnums=0)
def _logits(model: nn.Module, variables: VariableDict, inputs: Array) -> Array:
  out = apply(model, variables, inputs)[0]
  if getattr(out, "ndim", 0) != 2:
    raise ConfigError(
      f"{type(model).__name__} is no classifier; allowed: a network that returns logits [batch, classes]"
    )
  return out.astype(jnp.float32)


@partial(jax.jit, static_argnums=0)
def input_gradient(
  model: nn.Module, variables: VariableDict, inputs: Array, classes: Array
) -> Array:
  """Returns the gradient of each image's logit of its class, of the shape of `inputs`."""
  return jax.grad(lambda x: _score(_logits(model, variables, x), classes))(inputs)


@partial(jax.jit, static_argnums=(0, 4))
def map_and_gradient(
  model: nn.Module, variables: VariableDict, inputs: Array, classes: Array, stage: str
) -> tuple[Array, Array]:
  """Returns a map and the gradient of each image's logit of its class with respect to it.

  What reaches the logits around the map, such as a shortcut, is held fixed.

  Raises:
    ConfigError: the stage is not computed on the way to the logits.
  """

  def forward(variables: VariableDict, inputs: Array) -> tuple[Array, Array]:
    out, feats = apply(model, variables, inputs)
    return out, feats[stage]

  # A module need not be able to start from its map: the traced program is, where the equation that
  # defines the map is left out and the map becomes an argument.
  traced = jax.make_jaxpr(forward)(variables, inputs)
  program = traced.jaxpr
  out, stage_map = program.outvars
  after = [equation for equation in program.eqns if stage_map not in equation.outvars]
  if len(after) != len(program.eqns) - 1 or not any(stage_map in e.invars for e in after):
    raise ConfigError(f"stage {stage!r} is not on the network's way to the logits")
  rest = core.jaxpr_as_fun(
    core.ClosedJaxpr(
      program.replace(
        invars=[*program.invars, stage_map],
        outvars=[out],
        eqns=after,
        debug_info=program.debug_info.with_unknown_names(),
      ),
      traced.consts,
    )
  )
  leaves = jax.tree.leaves((variables, inputs))
  found = forward(variables, inputs)[1]
  return found, jax.grad(lambda value: _score(rest(*leaves, value)[0], classes))(found)


def _score(out: Array, classes: Array) -> Array:
  return jnp.take_along_axis(out.astype(jnp.float32), classes[:, None], axis=1).sum()
