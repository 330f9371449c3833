"""cnnlab: convolutional networks as a laboratory. See README.md; everything here is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MEMBERS = {
  "create_model": "cnnlab.models",
  "default_config": "cnnlab.defaults",
  "list_models": "cnnlab.models",
  "load_page": "cnnlab.config",
  "register_activation": "cnnlab.nn",
  "register_launcher": "cnnlab.launch.sweep",
  "register_logger": "cnnlab.runs.loggers",
  "register_model": "cnnlab.models",
  "register_norm": "cnnlab.nn",
  "register_source": "cnnlab.data",
  "register_task": "cnnlab.tasks",
  "register_transform": "cnnlab.data",
}
_ROOMS = (
  "nn", "models", "testing", "weights", "tasks", "data", "runs", "train", "codes", "inspect", "lab",
)  # fmt: skip

if TYPE_CHECKING:
  from cnnlab import codes, data, inspect, lab, models, nn, runs, tasks, testing, train, weights
  from cnnlab.config import load_page
  from cnnlab.data import register_source, register_transform
  from cnnlab.defaults import default_config
  from cnnlab.launch.sweep import register_launcher
  from cnnlab.models import create_model, list_models, register_model
  from cnnlab.nn import register_activation, register_norm
  from cnnlab.runs.loggers import register_logger
  from cnnlab.tasks import register_task

__all__ = [
  "__version__",
  "codes",
  "create_model",
  "data",
  "default_config",
  "inspect",
  "lab",
  "list_models",
  "load_page",
  "models",
  "nn",
  "register_activation",
  "register_launcher",
  "register_logger",
  "register_model",
  "register_norm",
  "register_source",
  "register_task",
  "register_transform",
  "runs",
  "tasks",
  "testing",
  "train",
  "weights",
]


def __dir__() -> list[str]:
  return __all__


def __getattr__(name: str) -> Any:
  # Importing JAX takes a second; `cnnlab --help` and reports do without it.
  if name in _MEMBERS:
    return getattr(importlib.import_module(_MEMBERS[name]), name)
  if name in _ROOMS:
    return importlib.import_module(f"cnnlab.{name}")
  raise AttributeError(f"module 'cnnlab' has no attribute {name!r}")
