"""A sweep from an experiment to its report's inputs, on whichever launcher is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from cnnlab.errors import ConfigError, unknown
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.plan import RunSpec, open_sweep, plan
from launch.outcome import SweepResult

# Each is `run_sweep(specs, *, workers, console, logs, settings) -> SweepResult`.
LAUNCHERS = {
  "local": "launch.local:run_sweep",
  "ray": "launch.ray:run_sweep",
  "slurm": "launch.slurm:run_sweep",
}


class Sweep(NamedTuple):
  """What `sweep` did: the sweep's directory, its plan, and the outcome of the runs."""

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
  settings: Mapping[str, str] | None = None,
  console: Console | None = None,
) -> Sweep:
  """Trains the unfinished runs of an experiment; repeat the call to resume after an interruption.

  Args:
    experiment: the experiment.
    root: runs lie at `<root>/<experiment>/<variant>/seed<k>`.
    only, seeds: a part of it, or more seeds: see `cnnlab.lab.plan.plan`.
    on: the launcher's name.
    workers: runs at a time; None for the launcher's choice.
    settings: of the launcher: see `SETTINGS` in its module.
    console: where the progress goes.

  Raises:
    ConfigError: unknown launcher, setting, variant or config key; nothing was started.
    RunError: the directory holds another recipe's sweep, or a run's files are broken.
  """
  if on not in LAUNCHERS:
    raise ConfigError(unknown("launcher", on, LAUNCHERS))
  specs = plan(experiment, root, only, seeds)
  directory = open_sweep(experiment, root, seeds)
  module, _, name = LAUNCHERS[on].partition(":")
  run_sweep = getattr(importlib.import_module(module), name)
  chosen = {"workers": workers, "console": console, "settings": settings}
  result = run_sweep(specs, logs=directory / "logs", **chosen)
  return Sweep(directory, specs, result)
