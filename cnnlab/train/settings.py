"""A run's settings, typed: each section of its config page as the dataclass of its chosen variant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from cnnlab.data.settings import DataSettings
from cnnlab.errors import ConfigError, unknown
from cnnlab.settings import bind, choose, refuse_unused, used_keys
from cnnlab.tasks import task_settings
from cnnlab.train.optim import OPTIMIZERS, Optimizer
from cnnlab.train.schedules import SCHEDULES, Schedule

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """The keys at the top of a config page; `cnnlab/defaults.py` explains each."""

  seed: int = 0
  batch_size: int = 128
  eval_batch_size: int = 500
  epochs: float = 10.0
  init_from: str = ""
  max_steps: int = 0
  dtype: str = "float32"
  ema_decay: float = 0.0
  steps_per_call: int = 1
  parallel: str = "jit"
  native: str = "auto"
  accumulate: int = 1
  log_every_steps: int = 50
  eval_every_epochs: float = 1.0
  checkpoint_every_epochs: float = 1.0
  checkpoint_every_steps: int = 0
  checkpoint_keep: int = 2

  def __post_init__(self) -> None:
    """Raises ConfigError for a value that makes no sense, whatever the data."""
    for key in (
      "batch_size",
      "eval_batch_size",
      "log_every_steps",
      "checkpoint_keep",
      "accumulate",
      "steps_per_call",
    ):
      self._require(key, getattr(self, key) >= 1, "1 and more")
    for key in (
      "epochs",
      "max_steps",
      "eval_every_epochs",
      "checkpoint_every_epochs",
      "checkpoint_every_steps",
    ):
      self._require(key, getattr(self, key) >= 0, "0 and more")
    self._require("ema_decay", 0 <= self.ema_decay < 1, "0 to below 1")
    self._require(
      "accumulate",
      self.batch_size % self.accumulate == 0,
      f"a divisor of batch_size, which is {self.batch_size}",
    )
    if self.dtype not in DTYPES:
      raise ConfigError(unknown("value of config key 'dtype'", self.dtype, DTYPES))

  def _require(self, key: str, holds: bool, allowed: str) -> None:
    if not holds:
      raise ConfigError(f"config key {key!r} is {getattr(self, key)}; allowed: {allowed}")


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
    """Returns the settings of a config page with its overrides.

    Raises:
      ConfigError: an unknown variant, or a value of the wrong type or out of range.
    """
    page = config.to_dict()
    return cls(
      run=bind(RunSettings, page, ""),
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
