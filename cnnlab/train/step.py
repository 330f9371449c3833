"""The training step and the evaluation step: pure functions of state and batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array

from cnnlab.tasks import Task
from cnnlab.train.crops import forward_views
from cnnlab.train.schedules import Plateau
from cnnlab.train.state import State, init_variables, named_key

Batch = Mapping[str, Array]

LOOP_METRICS = ("loss", "grad_norm", "steps", "learning_rate")  # beside the task's own sums


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What the steps are made of.

  Attributes:
    model: network; `apply` gives (out, feats).
    task: loss and metrics.
    optimiser: from gradients to directions of unit learning rate.
    schedule: step -> learning rate.
    preprocess: `train(batch, key)` and `eval(batch)`, from uint8 to float32 images.
    gather: (constants, batch) -> batch of images; looks examples up where the data set
      lives on the device.
    eval_gather: the same for the evaluation split.
    plateau: the plateau rule, or None.
    ema_decay: of the averaged parameters; 0 = off.
  """

  model: nn.Module
  task: Task
  optimiser: optax.GradientTransformation
  schedule: Callable[[Array], Array | float]
  preprocess: Any
  gather: Callable[[Any, Any], Any]
  eval_gather: Callable[[Any, Any], Any]
  plateau: Plateau | None = None
  ema_decay: float = 0.0


def init_state(recipe: Recipe, constants: Any, batch: Batch, key: Array) -> State:
  """Returns the state before the first step; `batch` is the first training batch."""
  batch = recipe.preprocess.eval(recipe.gather(constants, batch))
  params, model_state = init_variables(recipe.model, key, batch["image"])
  out, _ = jax.eval_shape(
    lambda p: recipe.model.apply({"params": p, **model_state}, batch["image"], train=False), params
  )
  mask = jnp.ones(batch["image"].shape[0])
  sums = jax.eval_shape(recipe.task.metric_sums, out, batch, mask)
  return State(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=recipe.optimiser.init(params),
    ema=jax.tree.map(jnp.copy, params) if recipe.ema_decay else {},
    plateau=recipe.plateau.init() if recipe.plateau else {},
    metrics={name: jnp.float32(0) for name in LOOP_METRICS}
    | {name: jnp.zeros(s.shape, s.dtype) for name, s in sums.items()},
  )


def train_step(
  recipe: Recipe, state: State, constants: Any, batch: Batch, key: Array, axis: str | None = None
) -> tuple[State, Array]:
  """Returns the state after one step, and that step's mean loss.

  Args:
    recipe: what the step is made of.
    state: before the step.
    constants: arrays of the data set that live on the device, or {}.
    batch: indices into them, or images and targets.
    key: the run's key; augmentation and dropout follow from it, their names and the step.
    axis: name of the device axis where each device runs the step on its own part of the
      batch with its own batch statistics (`parallel='pmap'`); None: the batch is global.
  """
  if axis is not None:
    key = jax.random.fold_in(key, jax.lax.axis_index(axis))
  batch = recipe.preprocess.train(
    recipe.gather(constants, batch), named_key(key, "augment", state.step)
  )
  dropout = named_key(key, "dropout", state.step)

  def loss_of(params: Any) -> tuple[Array, tuple]:
    (out, feats), model_state = recipe.model.apply(
      {"params": params, **state.model_state},
      batch["image"],
      train=True,
      mutable=list(state.model_state),
      rngs={"dropout": dropout},
    )
    loss = jnp.mean(recipe.task.loss(out, feats, batch))
    return loss, (out, dict(model_state))

  (loss, (out, model_state)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
  sums = recipe.task.metric_sums(out, batch, jnp.ones(out.shape[0]))
  if axis is not None:
    loss, gradients, model_state = jax.lax.pmean((loss, gradients, model_state), axis)
    sums = jax.lax.psum(sums, axis)

  rate = recipe.schedule(state.step) * (state.plateau.scale if recipe.plateau else 1.0)
  direction, opt_state = recipe.optimiser.update(gradients, state.opt_state, state.params)
  params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
  window = {"loss": loss, "grad_norm": optax.global_norm(gradients), "steps": jnp.float32(1)} | sums
  metrics = {name: state.metrics[name] + value for name, value in window.items()}
  return state.replace(
    step=state.step + 1,
    params=params,
    model_state=model_state,
    opt_state=opt_state,
    ema=_average(recipe, state, params),
    metrics=metrics | {"learning_rate": jnp.asarray(rate, jnp.float32)},
  ), loss


def _average(recipe: Recipe, state: State, params: Any) -> Any:
  """Returns the averaged parameters; early on the decay is lower, so that the start is forgotten."""
  if not recipe.ema_decay:
    return state.ema
  decay = jnp.minimum(recipe.ema_decay, (1.0 + state.step) / (10.0 + state.step))
  return optax.incremental_update(params, state.ema, 1.0 - decay)


def eval_step(recipe: Recipe, state: State, constants: Any, batch: Batch, sums: Any) -> Any:
  """Returns `sums` plus the metric sums of one batch, examples with `mask` False left out."""
  mask = batch["mask"].astype(jnp.float32)
  params = state.ema if recipe.ema_decay else state.params
  variables = {"params": params, **state.model_state}
  batch = recipe.eval_gather(constants, batch)
  batch, out = forward_views(recipe.model, recipe.preprocess, variables, batch)
  return jax.tree.map(jnp.add, sums, recipe.task.metric_sums(out, batch, mask))
