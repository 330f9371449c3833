"""A trained classifier as a function of its inputs and of its maps, and the gradients of its logits."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array
from jax.extend import core
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError, unknown


class Classifier(Protocol):
  """What is looked into: a `Run`, a `Trained`, or a `Network` of your own."""

  @property
  def model(self) -> nn.Module:
    """`model.apply(variables, inputs, train=False)` returns (logits [batch, classes], feats)."""

  @property
  def variables(self) -> VariableDict:
    """Parameters and moving averages."""


class Network(NamedTuple):
  """A model with its variables; see `Classifier`."""

  model: nn.Module
  variables: VariableDict


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


def maps(network: Classifier, image_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
  """Returns (height, width, channels) of each stage that is a map, from input to output.

  Args:
    network: the classifier.
    image_shape: (height, width, channels) of an input.
  """
  shapes: dict[str, tuple[int, ...]] = {}

  # The order of `feats` is lost in what `eval_shape` returns, so it is recorded while tracing.
  def record(variables: VariableDict, inputs: Array) -> None:
    for name, value in network.model.apply(variables, inputs, train=False)[1].items():
      if getattr(value, "ndim", 0) == 4:
        shapes[name] = value.shape[1:]

  jax.eval_shape(record, network.variables, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return shapes


def require_map(network: Classifier, image_shape: tuple[int, ...], stage: str | None) -> str:
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
  out = model.apply(variables, inputs, train=False)[0]
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
    out, feats = model.apply(variables, inputs, train=False)
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
