"""cnnlab: convolutional networks as a laboratory. See README.md; everything here is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MEMBERS = {"create_model": "cnnlab.models", "list_models": "cnnlab.models"}
_ROOMS = ("nn", "models", "weights", "tasks", "data", "runs", "train", "inspect", "lab")

if TYPE_CHECKING:
  from cnnlab import data, inspect, lab, models, nn, runs, tasks, train, weights
  from cnnlab.models import create_model, list_models

__all__ = [
  "__version__",
  "create_model",
  "data",
  "inspect",
  "lab",
  "list_models",
  "models",
  "nn",
  "runs",
  "tasks",
  "train",
  "weights",
]


def __getattr__(name: str) -> Any:
  # Importing JAX takes a second; `cnnlab --help` and reports do without it.
  if name in _MEMBERS:
    return getattr(importlib.import_module(_MEMBERS[name]), name)
  if name in _ROOMS:
    return importlib.import_module(f"cnnlab.{name}")
  raise AttributeError(f"module 'cnnlab' has no attribute {name!r}")
