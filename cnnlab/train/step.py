"""The training step and the evaluation step: pure functions of state and batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import traverse_util
from jax import Array

from cnnlab.tasks import Task
from cnnlab.tasks.base import Batch, num_examples, zeros_like_sums
from cnnlab.train.schedules import Plateau
from cnnlab.train.state import State, init_variables, named_key

Freeze = Callable[[tuple[str, ...]], bool]

LOOP_METRICS = ("loss", "grad_norm", "steps", "learning_rate")  # beside the task's own sums


@dataclasses.dataclass(frozen=True)
class Program:
  """What the compiled steps are made of.

  Attributes:
    model: network; `apply` returns (out, feats).
    task: loss and metrics.
    optimizer: from gradients and `learning_rate` to updates for `optax.apply_updates`.
    schedule: step -> learning rate.
    preprocess: `train(batch, key, offset)` and `eval(batch)`, from uint8 to float32 images.
    gather: (constants, batch) -> batch of examples; looks examples up where the data set
      lives on the device.
    eval_gather: the same for the evaluation split.
    plateau: the plateau rule, or None.
    ema_decay: of the averaged parameters; 0 is off.
    accumulate: micro-batches whose gradients make one step.
    freeze: path of a parameter -> whether it stays as it is; None freezes nothing.
  """

  model: nn.Module
  task: Task
  optimizer: optax.GradientTransformationExtraArgs
  schedule: Callable[[Array], Array | float]
  preprocess: Any
  gather: Callable[[Any, Any], Any]
  eval_gather: Callable[[Any, Any], Any]
  plateau: Plateau | None = None
  ema_decay: float = 0.0
  accumulate: int = 1
  freeze: Freeze | None = None


def init_state(program: Program, constants: Any, batch: Batch, key: Array) -> State:
  """Returns the state before the first step; `batch` is the first training batch."""
  task = program.task
  batch = program.preprocess.eval(program.gather(constants, batch))
  params, model_state, out = init_variables(program.model, task, key, batch)
  sums: Any = {"count": jnp.float32(0)}
  if task.measures_training:
    sums = jax.eval_shape(task.metric_sums, out, batch, jnp.ones(num_examples(batch)))
  return State(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=program.optimizer.init(params),
    ema=jax.tree.map(jnp.copy, params) if program.ema_decay else {},
    plateau=program.plateau.init() if program.plateau else {},
    metrics={name: jnp.float32(0) for name in LOOP_METRICS} | zeros_like_sums(sums),
  )


def train_step(
  program: Program, state: State, constants: Any, batch: Batch, key: Array, axis: str | None = None
) -> tuple[State, Array]:
  """Returns the state after one step, and that step's mean loss.

  Args:
    program: what the step is made of.
    state: before the step.
    constants: arrays of the data set that live on the device, or {}.
    batch: indices into them, or the examples themselves.
    key: the run's key; augmentation and dropout follow from it, their names and the step.
    axis: name of the device axis where each device runs the step on its own part of the
      batch with its own batch statistics (`parallel='pmap'`); None: the batch is global.
  """
  examples = program.gather(constants, batch)
  augment, stream_key = named_key(key, "augment", state.step), key
  offset: Array | int = 0
  if axis is not None:
    # Augmentation is that of the global batch on any number of devices; dropout is each device's.
    offset = jax.lax.axis_index(axis) * num_examples(examples)
    stream_key = jax.random.fold_in(key, jax.lax.axis_index(axis))
  batch = program.preprocess.train(examples, augment, offset=offset)
  loss, gradients, model_state, sums = _gradients(program, state, batch, stream_key, axis)

  rate = program.schedule(state.step) * (state.plateau.scale if program.plateau else 1.0)
  updates, opt_state = program.optimizer.update(
    gradients, state.opt_state, state.params, learning_rate=rate
  )
  params = optax.apply_updates(state.params, updates)
  window = {"loss": loss, "grad_norm": optax.global_norm(gradients), "steps": jnp.float32(1)} | sums
  metrics = {name: state.metrics[name] + value for name, value in window.items()}
  return state.replace(
    step=state.step + 1,
    params=params,
    model_state=model_state,
    opt_state=opt_state,
    ema=_average(program, state, params),
    metrics=metrics | {"learning_rate": jnp.asarray(rate, jnp.float32)},
  ), loss


def _gradients(
  program: Program, state: State, batch: Batch, key: Array, axis: str | None
) -> tuple[Array, Any, Any, Any]:
  """Returns mean loss, its gradients, the new model state, and metric sums of the whole batch.

  The batch is divided into `accumulate` micro-batches. Totals and weights of the loss are added up
  before they are divided, so that the gradient is the whole batch's up to rounding; batch
  statistics are those of the micro-batches. The loop is unrolled, since XLA:CPU is slow at
  convolutions inside `lax.scan`.
  """
  whole = program.accumulate == 1
  model_state = state.model_state
  parts = []
  for index in range(program.accumulate):
    part, part_key = batch, key
    if not whole:
      size = num_examples(batch) // program.accumulate
      part = {name: a[index * size : (index + 1) * size] for name, a in batch.items()}
      part_key = jax.random.fold_in(key, index)
    rngs = {name: named_key(part_key, name, state.step) for name in program.task.streams}
    # The divisor is applied before differentiation if it is known there.
    found = _backward(program, state.params, model_state, part, rngs, axis, mean=whole)
    model_state = found[2]
    parts.append(found)
  (total, weight), gradients, _, sums = (
    parts[0] if whole else jax.tree.map(lambda *leaves: sum(leaves), *(_summed(p) for p in parts))
  )
  if axis is not None:
    total, weight, gradients, sums = jax.lax.psum((total, weight, gradients, sums), axis)
    model_state = jax.lax.pmean(model_state, axis)
  if not whole:
    gradients = jax.tree.map(lambda g: g / weight, gradients)
  return total / weight, gradients, model_state, sums


def _summed(part: tuple) -> tuple:
  """Returns a micro-batch's results without the model state, which is not added up."""
  (total, weight), gradients, _, sums = part
  return (total, jnp.asarray(weight, jnp.float32)), gradients, {}, sums


def _backward(
  program: Program,
  params: Any,
  model_state: Any,
  batch: Batch,
  rngs: Any,
  axis: str | None,
  *,
  mean: bool,
) -> tuple[tuple[Array, Any], Any, Any, Any]:
  """Returns (total, weight), gradients, model state and metric sums of one micro-batch.

  Args:
    program, params, model_state, batch, rngs: what the forward pass takes.
    axis: name of the device axis over which the batch is split, or None.
    mean: the gradients are of the mean loss over the batch on all devices; else of this batch's
      total, and the caller divides.
  """
  task = program.task

  def loss_of(params: Any) -> tuple[Array, tuple]:
    with _frozen_statistics(program.freeze):
      (out, feats), new_state = program.model.apply(
        {"params": params, **model_state},
        *task.inputs(batch, train=True),
        train=True,
        mutable=list(model_state),
        rngs=rngs,
      )
    total, weight = task.loss(out, feats, batch, params)
    objective = total
    if mean:
      objective = total / (weight if axis is None else jax.lax.psum(weight, axis))
    return objective, ((total, weight), out, dict(new_state))

  gradients, (loss, out, model_state) = jax.grad(loss_of, has_aux=True)(params)
  if program.freeze:
    gradients = _without_frozen(program.freeze, gradients)
  if task.measures_training:
    sums = task.metric_sums(out, batch, jnp.ones(num_examples(batch)))
  else:
    sums = {"count": jnp.float32(num_examples(batch))}
  return loss, gradients, model_state, sums


def _without_frozen(freeze: Freeze, gradients: Any) -> Any:
  return traverse_util.path_aware_map(
    lambda path, leaf: jnp.zeros_like(leaf) if freeze(tuple(map(str, path))) else leaf, gradients
  )


def _frozen_statistics(freeze: Freeze | None) -> AbstractContextManager:
  """Returns a context in which norms whose scale is frozen use and keep their moving averages."""
  if freeze is None:
    return nullcontext()

  def call(method: Callable, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    module = context.module
    if hasattr(module, "use_running_average") and freeze((*module.path, "scale")):
      # The bound module lives for this call alone; its fields are frozen against accidents.
      object.__setattr__(module, "use_running_average", True)
    return method(*args, **kwargs)

  return nn.intercept_methods(call)


def _average(program: Program, state: State, params: Any) -> Any:
  """Returns the averaged parameters; the decay is lower at the start, which is soon forgotten."""
  if not program.ema_decay:
    return state.ema
  decay = jnp.minimum(program.ema_decay, (1.0 + state.step) / (10.0 + state.step))
  return optax.incremental_update(params, state.ema, 1.0 - decay)


def eval_step(
  program: Program, state: State, constants: Any, batch: Batch, sums: Any
) -> tuple[Any, Any]:
  """Returns `sums` plus the metric sums of one batch, and what is kept of each example.

  The latter are `collected` (for the task's accumulator) and `examples` (`Task.example_metrics`).
  Examples whose `mask` is False are left out of the sums; the caller drops what is kept of them.
  """
  own, rows = _evaluate(program, state, constants, batch)
  return jax.tree.map(jnp.add, sums, own), rows


def _evaluate(program: Program, state: State, constants: Any, batch: Batch) -> tuple[Any, Any]:
  task = program.task
  mask = batch["mask"].astype(jnp.float32)
  variables = evaluated_variables(program, state)
  batch = program.eval_gather(constants, batch)
  batch, out = task.evaluate(program.model, variables, program.preprocess, batch)
  rows = {"collected": task.collect(out, batch), "examples": task.example_metrics(out, batch)}
  return task.metric_sums(out, batch, mask), rows


def evaluated_variables(program: Program, state: State) -> dict[str, Any]:
  """Returns the variables that are evaluated: with averaged parameters if they are kept."""
  params = state.ema if program.ema_decay else state.params
  return {"params": params, **state.model_state}


def evaluation_zeros(program: Program, state: State, constants: Any, batch: Batch) -> Any:
  """Returns the sums that an evaluation starts from.

  Args:
    program: what the step is made of.
    state, constants, batch: arrays or their shapes; only the shapes matter.
  """
  if program.task.measures_training:
    own = {name: leaf for name, leaf in state.metrics.items() if name not in LOOP_METRICS}
  else:
    own, _ = jax.eval_shape(lambda *a: _evaluate(program, *a), state, constants, batch)
  return zeros_like_sums(own)
