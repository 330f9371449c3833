"""A run's settings, typed: each section of its config page as the dataclass of its chosen variant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from ml_collections import ConfigDict

from cnnlab.annotations import Between, Count, ProperFraction, Whole
from cnnlab.data.settings import DataSettings
from cnnlab.errors import ConfigError, shown
from cnnlab.imports import import_modules
from cnnlab.settings import bind, choose, refuse_unused, used_keys
from cnnlab.tasks import task_settings
from cnnlab.train.optim import OPTIMIZERS, Optimizer
from cnnlab.train.schedules import SCHEDULES, Epochs, Schedule

Dtype: TypeAlias = Literal["float32", "bfloat16"]
DTYPES = get_args(Dtype)
# `jax.random.key` keeps 32 bits of its seed.
Seed: TypeAlias = Annotated[int, Between(0, 2**32 - 1)]


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """The keys at the top of a config page; `cnnlab/defaults.py` explains each."""

  imports: tuple[str, ...] = ()
  seed: Seed = 0
  batch_size: Count = 128
  eval_batch_size: Count = 500
  epochs: Epochs = 10.0
  init_from: str = ""
  init_head: Literal["keep", "reset"] = "keep"
  init_statistics: Literal["data", "weights"] = "data"
  max_steps: Whole = 0
  dtype: Dtype = "float32"
  ema_decay: ProperFraction = 0.0
  steps_per_call: Count = 1
  parallel: Literal["jit", "pmap"] = "jit"
  native: Literal["auto", "off", "require"] = "auto"
  accumulate: Count = 1
  log_every_steps: Count = 50
  eval_every_epochs: Epochs = 1.0
  eval_trainset: bool = False
  checkpoint_every_epochs: Epochs = 1.0
  checkpoint_every_steps: Whole = 0
  checkpoint_keep: Count = 2
  loggers: tuple[str, ...] = ("tensorboard",)

  def __post_init__(self) -> None:
    """Raises ConfigError where keys contradict each other."""
    if self.batch_size % self.accumulate:
      raise ConfigError(
        f"config key 'accumulate' is {self.accumulate}; allowed: a divisor of batch_size, which is "
        f"{self.batch_size}"
      )
    for key, usual in (("init_head", "keep"), ("init_statistics", "data")):
      if getattr(self, key) != usual and not self.init_from:
        raise ConfigError(f"config key {key!r} has no effect without 'init_from'")


@dataclasses.dataclass(frozen=True)
class Settings:
  """All settings of a run.

  Attributes:
    run: the keys at the top of the page.
    task: settings of the chosen task.
    model: `name` and options; the model registry checks them.
    data: the data section.
    optim: the chosen optimizer.
    schedule: the chosen learning-rate schedule.
  """

  run: RunSettings
  task: Any
  model: Mapping[str, Any]
  data: DataSettings
  optim: Optimizer
  schedule: Schedule

  @classmethod
  def read(cls, config: ConfigDict) -> Settings:
    """Returns the settings of a config page with its overrides; imports the modules that it names.

    Raises:
      ConfigError: an unknown variant, a value of the wrong type or out of range, or a module that
        cannot be imported.
    """
    page = config.to_dict()
    if "dtype" in page["model"]:
      raise ConfigError(
        f"config key 'model.dtype' is {shown(page['model']['dtype'])}; the type of the activations "
        "is the config key 'dtype'"
      )
    run = bind(RunSettings, page, "")
    import_modules(run.imports)  # they may bring the task
    return cls(
      run=run,
      task=task_settings(page["task"]),
      model=page["model"],
      data=bind(DataSettings, page["data"], "data"),
      optim=choose(OPTIMIZERS, page["optim"], "optim"),
      schedule=choose(SCHEDULES, page["schedule"], "schedule"),
    )

  def refuse_unused(
    self, config: ConfigDict, asked: Iterable[str], unused_data: Iterable[str]
  ) -> None:
    """Raises ConfigError where a key was set, and nothing in the run reads it.

    Args:
      config: what these settings were read from.
      asked: dotted keys that were overridden.
      unused_data: keys of the data section that have no effect on this data set.
    """
    used = used_keys(self.run, "") | {f"model.{key}" for key in self.model}
    for name in ("task", "data", "optim", "schedule"):
      used |= used_keys(getattr(self, name), name) | {f"{name}.name"}
    used -= {f"data.{key}" for key in unused_data}
    refuse_unused(config, asked, used)
