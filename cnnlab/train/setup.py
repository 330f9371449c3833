"""From a config to everything a run needs: built, checked against each other, and derived once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from ml_collections import ConfigDict

from cnnlab import data, imports, metrics, native, tasks
from cnnlab.annotations import LARGEST_INT
from cnnlab.config import to_plain
from cnnlab.errors import ConfigError, DataError
from cnnlab.nn.cost import count_parameters, multiply_adds
from cnnlab.runs import checkpoint
from cnnlab.train.needs import require_memory
from cnnlab.train.optim import create_optimizer, freeze_filter
from cnnlab.train.parallel import Parallel
from cnnlab.train.schedules import create_plateau, create_schedule
from cnnlab.train.settings import RunSettings, Settings
from cnnlab.train.step import Program


@dataclasses.dataclass(frozen=True)
class Plan:
  """When a run does what, in steps; 0 means at the end only.

  Attributes:
    total_steps, steps_per_epoch: of the training.
    log_every, eval_every, checkpoint_every: steps between two logs, evaluations, checkpoints.
    checkpoint_keep: newest checkpoints that are kept.
    steps_per_call: steps compiled as one program; no more than the shortest of the intervals.
  """

  total_steps: int
  steps_per_epoch: int
  log_every: int
  eval_every: int
  checkpoint_every: tuple[int, ...]
  checkpoint_keep: int
  steps_per_call: int = 1

  def next_call(self, step: int) -> int:
    """Returns how many steps the next call trains after this many: `steps_per_call`, or 1.

    A call ends at the latest at the next step that logs, evaluates or saves. Where fewer than
    `steps_per_call` steps are left until then, they are called one by one, so that no other
    length is compiled.
    """
    every = (self.log_every, self.eval_every, *self.checkpoint_every)
    due = min(self.total_steps, *((step // n + 1) * n for n in every if n))
    return self.steps_per_call if due - step >= self.steps_per_call else 1

  def logs(self, step: int) -> bool:
    """Returns whether training metrics are written after this many steps."""
    return step == self.total_steps or step % self.log_every == 0

  def evaluates(self, step: int) -> bool:
    """Returns whether the network is evaluated after this many steps."""
    return step == self.total_steps or bool(self.eval_every and step % self.eval_every == 0)

  def saves(self, step: int) -> bool:
    """Returns whether a checkpoint is written after this many steps."""
    return step == self.total_steps or any(step % every == 0 for every in self.checkpoint_every)


@dataclasses.dataclass(frozen=True)
class Setup:
  """A run that is ready to start; `resolved` is what its config.json holds."""

  resolved: dict[str, Any]
  program: Program
  data: data.Data
  parallel: Parallel
  plan: Plan
  key: Array
  init_from: str = ""
  new_head: bool = False


def prepare(config: ConfigDict, asked: Iterable[str] = (), *, whole: bool = False) -> Setup:
  """Returns everything a run needs; writes nothing.

  Args:
    config: a page with overrides applied.
    asked: the dotted keys that were overridden; each must be read by something.
    whole: whether a data set with one split only is evaluated, every example of it, and not trained on.

  Raises:
    ConfigError: a value that makes no sense, a key that nothing reads, data and model that do not fit.
    DataError: the data set is missing, broken or too small.
    ShapeError: the images are too small for the network.
  """
  asked = tuple(asked)
  settings = Settings.read(config)
  run = settings.run
  native.select(run.native)
  parallel = Parallel(run.parallel, run.batch_size)
  eval_batch_size = parallel.round_up(run.eval_batch_size)
  loaded = data.load(
    settings.data,
    seed=run.seed,
    batch_size=run.batch_size,
    eval_batch_size=eval_batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    whole=whole,
  )
  if run.init_statistics == "weights":
    loaded = _as_the_weights(loaded, run.init_from, asked)
  # A larger batch than the split would only hold padding.
  eval_batch_size = min(eval_batch_size, parallel.round_up(loaded.eval.num_examples))
  loaded.eval.plan = dataclasses.replace(loaded.eval.plan, eval_batch_size=eval_batch_size)
  task = tasks.create_task(config.task.to_dict(), loaded.features).fitted(loaded.label_counts)
  model = task.network(settings.model, run.dtype)
  plan, warmup_steps = _plan(settings, loaded.train.num_examples)
  rate = _scaled_rate(settings)
  program = _program(settings, loaded, task, model, rate, plan.total_steps, warmup_steps)
  shapes, outputs = _traced(model, loaded.image_shape, task)
  task.check(outputs[0], loaded.preprocess)
  jax.eval_shape(program.optimizer.init, shapes["params"])  # groups must match something
  require_memory(settings, program, shapes, outputs, loaded, parallel.mesh.size)
  parameters, cost = measure_model(model, loaded.image_shape, task, shapes)
  settings.refuse_unused(config, asked, loaded.unused)
  derived = {
    "steps_per_epoch": plan.steps_per_epoch,
    "total_steps": plan.total_steps,
    "warmup_steps": warmup_steps,
    "eval_every_steps": plan.eval_every,
    "eval_batch_size": eval_batch_size,
    "learning_rate": rate,
    "parameters": parameters,
    "multiply_adds": cost,
    "imports": imports.origins(run.imports),
    **_about_data(loaded),
    **about_task(task),
  }
  return Setup(
    resolved=to_plain(config) | {"derived": derived},
    program=program,
    data=loaded,
    parallel=parallel,
    plan=plan,
    key=jax.random.key(run.seed),
    init_from=run.init_from,
    new_head=run.init_head == "reset",
  )


def _program(
  settings: Settings,
  loaded: data.Data,
  task: tasks.Task,
  model: nn.Module,
  rate: float,
  total_steps: int,
  warmup_steps: int,
) -> Program:
  """Returns what the compiled steps are made of."""
  run = settings.run
  return Program(
    model=model,
    task=task,
    optimizer=create_optimizer(settings.optim),
    schedule=create_schedule(
      settings.schedule, peak=rate, total_steps=total_steps, warmup_steps=warmup_steps
    ),
    preprocess=loaded.preprocess,
    gather=loaded.train.gather,
    eval_gather=loaded.eval.gather,
    plateau=create_plateau(settings.schedule, task.best_by[1]),
    ema_decay=run.ema_decay,
    accumulate=run.accumulate,
    freeze=freeze_filter(settings.optim),
  )


def _as_the_weights(loaded: data.Data, directory: str, asked: tuple[str, ...]) -> data.Data:
  """Returns the data set, normalized by the statistics that a run's weights were trained with.

  Raises:
    RunError: the run has no checkpoint.
    ConfigError: as of `with_statistics`.
  """
  saved = checkpoint.restore(Path(directory))
  trained = data.Preprocess.from_parts(saved["about"]["preprocess"], saved["preprocess"])
  preprocess = with_statistics(loaded.preprocess, trained)
  # Those of a config page stand for the data's own statistics, which is what was asked not to take.
  unused = (key for key in ("centering", "scale") if f"data.{key}" in asked)
  return dataclasses.replace(loaded, preprocess=preprocess, unused=(*loaded.unused, *unused))


def with_statistics(now: data.Preprocess, trained: data.Preprocess) -> data.Preprocess:
  """Returns `now` with the statistics that a network was trained with, whatever the data says.

  Raises:
    ConfigError: those are a mean image of another size, or of another number of channels.
  """
  if trained.mean.ndim == 3 and now.stored_size != trained.stored_size:
    raise ConfigError(
      f"config key 'data.resize': the weights' images are centred by a mean image of "
      f"{trained.stored_size}, which does not fit images of {now.stored_size}"
    )
  if now.channels != trained.channels:
    raise ConfigError(
      f"config key 'data.channels': images have {now.channels} channels, those that the weights were "
      f"trained on {trained.channels}"
    )
  return dataclasses.replace(now, mean=trained.mean, scale=trained.scale)


def _about_data(loaded: data.Data) -> dict[str, Any]:
  """Returns what a run's config.json tells of its data set."""
  return {
    "image_shape": list(loaded.image_shape),
    "train_examples": loaded.train.num_examples,
    "eval_examples": loaded.eval.num_examples,
    "skipped_images": len(loaded.train.skipped) + len(loaded.eval.skipped),
    "num_classes": len(loaded.class_names),
    "class_names": list(loaded.class_names),
    "features": {
      name: {"kind": feature.kind, "names": list(feature.names)}
      for name, feature in loaded.features.items()
    },
  }


def about_task(task: tasks.Task) -> dict[str, Any]:
  """Returns what a run's config.json tells of its task: its metrics, which decides, and more."""
  declared = {"main_metric": list(task.best_by), "metrics": metrics.to_json(task.metrics)}
  return {**declared, **task.derived}


def variable_shapes(
  model: nn.Module, image_shape: tuple[int, ...], task: tasks.Task | None = None
) -> Any:
  """Returns the shapes of a network's variables without computing anything.

  Args:
    model: the network.
    image_shape: (height, width, channels).
    task: what the network takes in evaluation and its random streams; None: an image.

  Raises:
    ShapeError: the image is too small for the network.
  """
  return _traced(model, image_shape, task)[0]


def _traced(
  model: nn.Module, image_shape: tuple[int, ...], task: tasks.Task | None
) -> tuple[Any, Any]:
  """Returns the shapes of a network's variables, and of what it makes of one image: (out, feats)."""
  streams = ("params", *(task.streams if task else ("dropout",)))

  def init(x: Array) -> Any:
    rngs = dict.fromkeys(streams, jax.random.key(0))
    return model.init_with_output(rngs, *_inputs(x, task), train=False)

  outputs, variables = jax.eval_shape(init, _one_image(image_shape))
  return variables, outputs


def measure_model(
  model: nn.Module,
  image_shape: tuple[int, ...],
  task: tasks.Task | None = None,
  variables: Any = None,
) -> tuple[int, int]:
  """Returns (parameters, multiply-adds of one image's forward pass) without computing anything.

  Args:
    model, image_shape, task: as of `variable_shapes`.
    variables: what that returned, if it is known.

  Raises:
    ShapeError: the image is too small for the network.
  """
  if variables is None:
    variables = variable_shapes(model, image_shape, task)

  def forward(variables: Any, x: Array) -> Any:
    return model.apply(variables, *_inputs(x, task), train=False)[0]

  cost = multiply_adds(forward, variables, _one_image(image_shape))
  return count_parameters(variables["params"]), cost


def _one_image(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def _inputs(image: Array, task: tasks.Task | None) -> tuple[Any, ...]:
  return task.inputs({"image": image}, train=False) if task else (image,)


def _plan(settings: Settings, train_examples: int) -> tuple[Plan, int]:
  """Returns the plan and the number of warm-up steps."""
  run: RunSettings = settings.run
  if run.batch_size > train_examples:
    raise DataError(
      f"config key 'batch_size' is {run.batch_size}, but the training split has {train_examples} images"
    )
  per_epoch = train_examples // run.batch_size

  def steps(epochs: float) -> int:
    return max(1, round(epochs * per_epoch)) if epochs > 0 else 0

  total = steps(run.epochs)
  total = min(total, run.max_steps) if run.max_steps else total
  if not total:
    raise ConfigError(f"config key 'epochs' is {run.epochs}: nothing to train; allowed: over 0")
  if total > LARGEST_INT:
    raise ConfigError(
      f"config key 'epochs' is {run.epochs}: {total} steps; allowed: up to {LARGEST_INT} of them"
    )
  saves = (steps(run.checkpoint_every_epochs), run.checkpoint_every_steps)
  checkpoint_every = tuple(n for n in saves if n)
  eval_every = steps(run.eval_every_epochs)
  apart = (n for n in (run.log_every_steps, eval_every, *checkpoint_every, total) if n)
  plan = Plan(
    total_steps=total,
    steps_per_epoch=per_epoch,
    log_every=run.log_every_steps,
    eval_every=eval_every,
    checkpoint_every=checkpoint_every,
    checkpoint_keep=run.checkpoint_keep,
    steps_per_call=min(run.steps_per_call, *apart),  # a longer call would never fit
  )
  return plan, steps(settings.schedule.warmup_epochs)


def _scaled_rate(settings: Settings) -> float:
  """Returns the peak learning rate, scaled linearly with the batch where a reference is given (arXiv:1706.02677)."""
  rate, reference = settings.optim.learning_rate, settings.optim.reference_batch
  return rate * settings.run.batch_size / reference if reference else rate
