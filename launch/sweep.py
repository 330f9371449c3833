"""A sweep from an experiment to its report's inputs, on whichever launcher is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from cnnlab.errors import ConfigError, unknown
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.plan import RunSpec, plan, prepare
from launch.local import SweepResult

# Each is `run_sweep(specs, *, workers, console, logs) -> SweepResult`.
LAUNCHERS = {"local": "launch.local:run_sweep"}


class Sweep(NamedTuple):
  """What `sweep` did: the sweep's directory, its plan, and what became of the runs."""

  directory: Path
  specs: list[RunSpec]
  result: SweepResult


def sweep(
  experiment: Experiment,
  root: str | os.PathLike[str],
  *,
  only: str | Iterable[str] | None = None,
  seeds: int | Sequence[int] | None = None,
  on: str = "local",
  workers: int | None = None,
  console: Console | None = None,
) -> Sweep:
  """Trains what is not yet trained of an experiment; the same call goes on after an interruption.

  Args:
    experiment: the experiment.
    root: runs lie at `<root>/<experiment>/<variant>/seed<k>`.
    only, seeds: a part of it, or more seeds: see `cnnlab.lab.plan.plan`.
    on: the launcher's name.
    workers: processes at a time; None for the launcher's choice.
    console: where the progress goes.

  Raises:
    ConfigError: unknown launcher, variant or config key; nothing was started.
    RunError: the directory holds another recipe's sweep, or a run's files are broken.
  """
  if on not in LAUNCHERS:
    raise ConfigError(unknown("launcher", on, LAUNCHERS))
  specs = plan(experiment, root, only, seeds)
  directory = prepare(experiment, root, seeds)
  module, _, name = LAUNCHERS[on].partition(":")
  run_sweep = getattr(importlib.import_module(module), name)
  result = run_sweep(specs, workers=workers, console=console, logs=directory / "logs")
  return Sweep(directory, specs, result)
