"""Experiments from their files: `get_experiment(recipe='')` in `experiments/<name>/experiment.py`.

A file may lie anywhere. Modules and config pages beside it are found without further ado. Those that
register a model, a norm and the like are named in `overrides={"imports": ("my_net",)}`, so that
the processes that train import them too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from cnnlab.errors import ConfigError, unknown
from cnnlab.imports import beside, line_of, located
from cnnlab.lab.experiment import Experiment

_PACKAGE = Path(__file__).resolve().parents[1]


def load_experiment(path_or_name: str, recipe: str = "") -> Experiment:
  """Returns the experiment in a folder or file, or with a name in `experiments/`.

  A relative path is looked up in the working directory, then in cnnlab.

  Args:
    path_or_name: such as `experiments/all_cnn`, `experiments/all_cnn/experiment.py`, `all_cnn`.
    recipe: passed to the file's `get_experiment`; empty for its default.

  Raises:
    ConfigError: the experiment or recipe does not exist (the message names the nearest), or the
      file raises an error (the message names its line) or returns no experiment.
  """
  file = find_file(path_or_name)
  with beside(file.parent):
    module = _load(file)
    if not hasattr(module, "get_experiment"):
      raise ConfigError(f"{file}: defines no get_experiment(recipe='')")
    experiment = _call(module, file, recipe)
  if not isinstance(experiment, Experiment):
    kind = type(experiment).__name__
    raise ConfigError(f"{file}: get_experiment returned {kind}, not an Experiment")
  if recipe and experiment.recipe != recipe:
    raise ConfigError(
      f"{file}: recipe {recipe!r} was asked for, but get_experiment returned "
      f"{experiment.recipe!r}: it must pass `recipe` on to Experiment(recipe=...)"
    )
  overrides = dict(experiment.overrides)
  names = overrides.get("imports")
  if isinstance(names, (list, tuple)):
    overrides["imports"] = located(names, file.parent)
  page = _page_beside(experiment.config, file.parent)
  return replace(experiment, file=str(file), config=page, overrides=overrides)


def find_file(path_or_name: str) -> Path:
  """Returns the file of an experiment given as a file, a folder, or a name in `experiments/`.

  Raises:
    ConfigError: there is none; the nearest names are given.
  """
  given = Path(path_or_name)
  for base in (Path(), _PACKAGE, _PACKAGE / "experiments"):
    for candidate in (base / given, base / given / "experiment.py"):
      with contextlib.suppress(OSError, ValueError):  # too long, or a NUL in it
        if candidate.is_file() and candidate.suffix == ".py":
          return candidate.resolve()
  names = [p.parent.name for p in _PACKAGE.glob("experiments/*/experiment.py")]
  if os.sep in path_or_name:
    names = [f"experiments/{name}" for name in names]
  raise ConfigError(unknown("experiment", path_or_name[:200], names))


def _load(file: Path) -> ModuleType:
  spec = importlib.util.spec_from_file_location(f"cnnlab_experiment_{file.parent.name}", file)
  if spec is None or spec.loader is None:
    raise ConfigError(f"{file}: not a Python file")
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except (Exception, SystemExit) as error:  # whatever a user's file raises
    raise ConfigError(_at_line(file, error)) from error
  return module


def _call(module: ModuleType, file: Path, recipe: str) -> object:
  try:
    return module.get_experiment(recipe)
  except KeyError as error:
    allowed = getattr(module, "RECIPES", None)
    if allowed is None or recipe in allowed:
      raise ConfigError(_at_line(file, error)) from error
    raise ConfigError(f"{file}: " + unknown("recipe", recipe, allowed)) from error
  except ConfigError as error:
    raise ConfigError(f"{file}: {error}") from error
  except (Exception, SystemExit) as error:
    raise ConfigError(_at_line(file, error)) from error


def _at_line(file: Path, error: BaseException) -> str:
  """Returns a message that names the line of the file at which an error was raised."""
  line = line_of(error, str(file))
  where = f"{file}, line {line}" if line else str(file)
  return f"{where}: {type(error).__name__}: {error}"


def _page_beside(page: str, folder: Path) -> str:
  """Returns the config page with its path made absolute where it lies in the experiment's folder."""
  path, colon, argument = page.partition(":")
  beside = folder / path
  return f"{beside}{colon}{argument}" if beside.is_file() else page
