"""What a network is for: targets, loss, metrics and predictions of one kind of problem."""

from __future__ import annotations

from typing import Any

from cnnlab.errors import ConfigError, unknown
from cnnlab.tasks.base import Task
from cnnlab.tasks.classification import Classification

TASKS = {"classification": Classification}

__all__ = ["TASKS", "Classification", "Task", "create_task"]


def create_task(config: Any, *, class_names: tuple[str, ...]) -> Task:
  """Returns the task that the config's `task` section names.

  Raises:
    ConfigError: an unknown task, with the nearest names.
  """
  if config.name not in TASKS:
    raise ConfigError(unknown("task", config.name, TASKS))
  return TASKS[config.name].from_config(config, class_names=class_names)
