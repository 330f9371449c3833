"""A sweep from an experiment to its report's inputs, on whichever launcher is named."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from rich.console import Console

from cnnlab.errors import ConfigError, shown, unknown
from cnnlab.lab.directory import open_sweep, save_experiment
from cnnlab.lab.experiment import Experiment, read_experiment
from cnnlab.lab.plan import RunSpec, plan, plan_tuning, select
from cnnlab.lab.tuning import choose
from cnnlab.launch.outcome import Outcome, SweepResult
from cnnlab.register import register


class Executor(Protocol):
  """What executes the runs of a sweep: a module such as `cnnlab.launch.local`, or an object."""

  def check(self, settings: Mapping[str, str] | None, workers: int | None) -> object:
    """Raises ConfigError for a setting that cannot be used, before anything is written."""

  def run_sweep(
    self,
    specs: Sequence[RunSpec],
    *,
    workers: int | None,
    console: Console | None,
    logs: str | os.PathLike[str] | None,
    settings: Mapping[str, str] | None,
  ) -> SweepResult:
    """Executes the runs that `cnnlab.launch.outcome.opened` leaves; returns the outcome of each.

    Args:
      specs: the plan; `cnnlab.lab.execute.execute_run` trains one of its runs, in any process.
      workers: runs at a time; None for its own choice.
      console: where the progress goes.
      logs: a folder for what the runs print.
      settings: `--option KEY=VALUE`, as text.
    """


# Executors, or the modules that are imported to be one.
LAUNCHERS: dict[str, Executor | str] = {
  "local": "cnnlab.launch.local",
  "ray": "cnnlab.launch.ray",
  "slurm": "cnnlab.launch.slurm",
}


def register_launcher(name: str, launcher: Executor, *, replace: bool = False) -> None:
  """Makes a launcher available as `cnnlab sweep --on <name>`.

  Args:
    name: of the launcher.
    launcher: a module or an object with the functions of `Executor`.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: it lacks a function, or the name is taken.
  """
  for function in ("check", "run_sweep"):
    if not callable(getattr(launcher, function, None)):
      raise ConfigError(
        f"launcher {name!r} is {shown(launcher)}, which has no function {function!r}"
      )
  register(LAUNCHERS, "launcher", name, launcher, replace=replace)


class Sweep(NamedTuple):
  """What `sweep` did: the sweep's directory, its plan, and the outcome of the runs."""

  directory: Path
  specs: list[RunSpec]
  result: SweepResult


class Launcher(NamedTuple):
  """Where the runs of a sweep are executed.

  Attributes:
    name: `local`, `ray`, `slurm`, or one that was registered.
    workers: runs at a time; None for the launcher's choice.
    settings: its options: see `SETTINGS` in its module.
  """

  name: str = "local"
  workers: int | None = None
  settings: Mapping[str, str] | None = None

  def check(self) -> None:
    """Checks that it can be used as asked, before anything is written or started.

    Raises:
      ConfigError: unknown launcher or setting, or a value that cannot be used.
      RunError: what the launcher needs is missing on this machine.
    """
    if self.name not in LAUNCHERS:
      raise ConfigError(unknown("launcher", self.name, LAUNCHERS))
    self._executor().check(self.settings, self.workers)

  def run(self, specs: Sequence[RunSpec], logs: Path, console: Console | None) -> SweepResult:
    """Executes the pending runs of a plan; returns what became of each."""
    return self._executor().run_sweep(
      specs, logs=logs, workers=self.workers, console=console, settings=self.settings
    )

  def _executor(self) -> Executor:
    known = LAUNCHERS[self.name]
    return cast("Executor", importlib.import_module(known)) if isinstance(known, str) else known


LOCAL = Launcher()


def sweep(
  experiment: Experiment,
  root: str | os.PathLike[str],
  *,
  only: str | Iterable[str] | None = None,
  seeds: int | Sequence[int] | None = None,
  confirm: bool = False,
  launcher: Launcher = LOCAL,
  console: Console | None = None,
) -> Sweep:
  """Trains the unfinished runs of an experiment; repeat the call to resume after an interruption.

  Where the experiment asks for tuning, the tuning runs of all variants come first; what they choose
  is written to experiment.json, and stays.

  Args:
    experiment: the experiment.
    root: runs lie at `<root>/<experiment>/<variant>/seed<k>`.
    only, seeds: a part of it, or more seeds: see `cnnlab.lab.plan.plan`.
    confirm: the seeds are fresh ones that test the claims once more: see `open_sweep`.
    launcher: where the runs are executed.
    console: where the progress goes.

  Raises:
    ConfigError: unknown launcher, setting, variant or config key; nothing was started.
    RunError: the directory holds another recipe's sweep, or a run's files are broken.
  """
  launcher.check()
  plan(experiment, root, only, seeds)  # what is wrong with it is said before anything is written
  directory = open_sweep(experiment, root, seeds, confirm)
  launch = functools.partial(launcher.run, logs=directory / "logs", console=console)
  tuned = dataclasses.replace(experiment, tuned=read_experiment(directory).tuned)
  specs = plan_tuning(tuned, root, only)
  result = SweepResult()
  if specs:
    tuned, result = _tune(tuned, directory, specs, launch)
    if result.interrupted or result.named("submitted"):
      return Sweep(directory, specs, result)
  labels = [label for label in select(experiment, only) if _is_tuned(tuned, label)]
  specs = plan(tuned, root, labels, seeds) if labels else []
  final = launch(specs)
  final.outcomes |= {o.name: o for o in _untuned(tuned, select(experiment, only))}
  return Sweep(directory, specs, final)


def _tune(
  experiment: Experiment,
  directory: Path,
  specs: Sequence[RunSpec],
  launch: Callable[[Sequence[RunSpec]], SweepResult],
) -> tuple[Experiment, SweepResult]:
  """Executes the tuning runs; returns the experiment with what they chose, and their outcomes."""
  from cnnlab.lab.results import collect_tuning

  result = launch(specs)
  asked = experiment.tuning
  if result.interrupted or asked is None:
    return experiment, result
  table = collect_tuning(directory, experiment)
  saved = read_experiment(directory)  # knows what the task declares of the metric
  chosen = choose(table, asked, saved.better(experiment.tuning_metric))
  tuned = dataclasses.replace(experiment, tuned={**experiment.tuned, **chosen})
  save_experiment(directory, dataclasses.replace(saved, tuned={**saved.tuned, **chosen}))
  return tuned, result


def _is_tuned(experiment: Experiment, label: str) -> bool:
  return experiment.tuning is None or label in experiment.tuned


def _untuned(experiment: Experiment, labels: Iterable[str]) -> list[Outcome]:
  reason = "no setting of its tuning was finished by all of its runs, so it was not trained"
  return [Outcome(label, "failed", reason) for label in labels if not _is_tuned(experiment, label)]
