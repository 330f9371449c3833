"""From a config to everything a run needs: built, checked against each other, and derived once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from ml_collections import ConfigDict

from cnnlab import data, tasks
from cnnlab.config import TrackedConfig, refuse_unread, to_plain
from cnnlab.errors import ConfigError, DataError, unknown
from cnnlab.models import create_model
from cnnlab.nn.cost import count_parameters, multiply_adds
from cnnlab.train.optim import create_optimiser
from cnnlab.train.parallel import Parallel
from cnnlab.train.schedules import create_plateau, create_schedule
from cnnlab.train.step import Recipe

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Plan:
  """When a run does what, in steps; 0 means at the end only."""

  total_steps: int
  steps_per_epoch: int
  log_every: int
  eval_every: int
  checkpoint_every: tuple[int, ...]
  checkpoint_keep: int

  def logs(self, step: int) -> bool:
    """Says whether training metrics are written after this many steps."""
    return step == self.total_steps or step % self.log_every == 0

  def evaluates(self, step: int) -> bool:
    """Says whether the network is evaluated after this many steps."""
    return step == self.total_steps or bool(self.eval_every and step % self.eval_every == 0)

  def saves(self, step: int) -> bool:
    """Says whether a checkpoint is written after this many steps."""
    return step == self.total_steps or any(step % every == 0 for every in self.checkpoint_every)


@dataclasses.dataclass(frozen=True)
class Setup:
  """A run that is ready to start; `resolved` is what its config.json holds."""

  resolved: dict[str, Any]
  recipe: Recipe
  data: data.Data
  parallel: Parallel
  plan: Plan
  key: Array
  init_from: str = ""


def prepare(config: ConfigDict, asked: Iterable[str] = ()) -> Setup:
  """Returns everything a run needs; writes nothing.

  Args:
    config: a page with overrides applied.
    asked: the dotted keys that were overridden; each must be read by something.

  Raises:
    ConfigError: a value that makes no sense, a key that nothing reads, data and model that do not fit.
    DataError: the data set is missing, broken or too small.
    ShapeError: the images are too small for the network.
  """
  tracked = TrackedConfig(config)
  _check_positive(tracked, "batch_size", "eval_batch_size", "log_every_steps", "checkpoint_keep")
  parallel = Parallel(tracked.parallel, tracked.batch_size)
  eval_batch_size = parallel.round_up(tracked.eval_batch_size)
  loaded = data.load(
    tracked.data,
    seed=tracked.seed,
    batch_size=tracked.batch_size,
    eval_batch_size=eval_batch_size,
  )
  task = tasks.create_task(tracked.task, class_names=loaded.class_names)
  model = build_model(tracked.model.as_dict(), task.outputs(), tracked.dtype)
  plan, warmup_steps = _plan(tracked, loaded.train.num_examples)
  rate = _scaled_rate(tracked)
  recipe = Recipe(
    model=model,
    task=task,
    optimiser=create_optimiser(tracked.optim),
    schedule=create_schedule(
      tracked.schedule, peak=rate, total_steps=plan.total_steps, warmup_steps=warmup_steps
    ),
    preprocess=loaded.preprocess,
    gather=loaded.train.gather,
    eval_gather=loaded.eval.gather,
    plateau=create_plateau(tracked.schedule, task.main_metric[1]),
    ema_decay=_fraction(tracked, "ema_decay"),
  )
  parameters, cost = measure_model(model, loaded.image_shape)
  init_from = tracked.init_from
  refuse_unread(tracked, config, asked)
  derived = {
    "steps_per_epoch": plan.steps_per_epoch,
    "total_steps": plan.total_steps,
    "warmup_steps": warmup_steps,
    "eval_every_steps": plan.eval_every,
    "eval_batch_size": eval_batch_size,
    "learning_rate": rate,
    "image_shape": list(loaded.image_shape),
    "train_examples": loaded.train.num_examples,
    "eval_examples": loaded.eval.num_examples,
    "skipped_images": len(loaded.train.skipped) + len(loaded.eval.skipped),
    "num_classes": len(loaded.class_names),
    "class_names": list(loaded.class_names),
    "main_metric": list(task.main_metric),
    "parameters": parameters,
    "multiply_adds": cost,
  }
  return Setup(
    resolved=to_plain(config) | {"derived": derived},
    recipe=recipe,
    data=loaded,
    parallel=parallel,
    plan=plan,
    key=jax.random.key(tracked.seed),
    init_from=init_from,
  )


def build_model(options: Mapping[str, Any], outputs: int, dtype: str) -> nn.Module:
  """Returns the model of a config's `model` section.

  Args:
    options: `name` and options of the model.
    outputs: how many classes the data has.
    dtype: of the activations.

  Raises:
    ConfigError: unknown model, option or dtype, or fewer outputs than the data has classes.
  """
  if dtype not in DTYPES:
    raise ConfigError(unknown("value of config key 'dtype'", dtype, DTYPES))
  options = dict(options)
  num_classes = options.pop("num_classes", None) or outputs
  if num_classes < outputs:
    raise ConfigError(
      f"config key 'model.num_classes' is {num_classes}, but the data has {outputs} classes; "
      f"allowed: {outputs} and more, or leave it out"
    )
  return create_model(options.pop("name"), num_classes=num_classes, dtype=dtype, **options)


def measure_model(model: nn.Module, image_shape: tuple[int, ...]) -> tuple[int, int]:
  """Returns (parameters, multiply-adds of one image's forward pass) without computing anything.

  Raises:
    ShapeError: the image is too small for the network.
  """
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)

  def init(x: Array) -> Any:
    return model.init({"params": jax.random.key(0), "dropout": jax.random.key(0)}, x, train=False)

  def forward(variables: Any, x: Array) -> Any:
    return model.apply(variables, x, train=False)[0]

  variables = jax.eval_shape(init, image)
  return count_parameters(variables["params"]), multiply_adds(forward, variables, image)


def _plan(config: TrackedConfig, train_examples: int) -> tuple[Plan, int]:
  """Returns the plan and the number of warm-up steps."""
  if config.batch_size > train_examples:
    raise DataError(
      f"config key 'batch_size' is {config.batch_size}, but the training split has {train_examples} images"
    )
  per_epoch = train_examples // config.batch_size

  def steps(epochs: float) -> int:
    return max(1, round(epochs * per_epoch)) if epochs > 0 else 0

  for key in (
    "epochs",
    "max_steps",
    "eval_every_epochs",
    "checkpoint_every_epochs",
    "checkpoint_every_steps",
  ):
    if getattr(config, key) < 0:
      raise ConfigError(f"config key {key!r} is {getattr(config, key)}; allowed: 0 and more")
  total = steps(config.epochs)
  total = min(total, config.max_steps) if config.max_steps else total
  if not total:
    raise ConfigError(f"config key 'epochs' is {config.epochs}: nothing to train; allowed: over 0")
  every = (steps(config.checkpoint_every_epochs), config.checkpoint_every_steps)
  plan = Plan(
    total_steps=total,
    steps_per_epoch=per_epoch,
    log_every=config.log_every_steps,
    eval_every=steps(config.eval_every_epochs),
    checkpoint_every=tuple(n for n in every if n),
    checkpoint_keep=config.checkpoint_keep,
  )
  return plan, steps(config.schedule.warmup_epochs)


def _scaled_rate(config: TrackedConfig) -> float:
  """Returns the peak learning rate, scaled linearly with the batch where a reference is given (arXiv:1706.02677)."""
  rate, reference = config.optim.learning_rate, config.optim.reference_batch
  if rate <= 0:
    raise ConfigError(f"config key 'optim.learning_rate' is {rate}; allowed: over 0")
  return rate * config.batch_size / reference if reference else rate


def _fraction(config: TrackedConfig, key: str) -> float:
  value = getattr(config, key)
  if not 0 <= value < 1:
    raise ConfigError(f"config key {key!r} is {value}; allowed: 0 to below 1")
  return value


def _check_positive(config: TrackedConfig, *keys: str) -> None:
  for key in keys:
    if getattr(config, key) < 1:
      raise ConfigError(f"config key {key!r} is {getattr(config, key)}; allowed: 1 and more")
