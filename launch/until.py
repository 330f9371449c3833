"""A sweep that adds seeds until its claims are decided, with a correction for looking repeatedly."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from cnnlab.errors import ConfigError
from cnnlab.lab.directory import save_experiment
from cnnlab.lab.examples import load
from cnnlab.lab.experiment import Experiment, read_experiment
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.sequential import alpha_at, seeds_at_looks
from cnnlab.lab.statistics.verdicts import INCONCLUSIVE, judge
from cnnlab.launch.sweep import LOCAL, Launcher, Sweep, sweep


def sweep_until_decided(
  experiment: Experiment,
  root: str | os.PathLike[str],
  *,
  max_hours: float,
  only: str | Iterable[str] | None = None,
  launcher: Launcher = LOCAL,
  console: Console | None = None,
  clock: Callable[[], float] = time.monotonic,
) -> Sweep:
  """Trains with more and more seeds until no claim is inconclusive, or the time is up.

  The seeds are 0 to n - 1 with n of `cnnlab.lab.statistics.sequential.seeds_at_looks`. Look j at the verdicts is
  taken at alpha / 2^j, so that all of them together are wrong with a probability of alpha at most.
  What has been looked at is counted in experiment.json, so a repeated call goes on from there.

  Args:
    experiment, root, only, launcher, console: as of `sweep`.
    max_hours: no look is begun that would probably end later than this.
    clock: gives the seconds since some moment.

  Raises:
    ConfigError: there is no claim to decide, no time, or what `sweep` refuses.
    RunError: as of `sweep`.
  """
  if not experiment.claims:
    raise ConfigError(f"experiment {experiment.name!r} has no claims to decide")
  if not 0 < max_hours < 1e5:
    raise ConfigError(f"max_hours is {max_hours}; allowed: over 0")
  console = console or Console()
  began, count_before = clock(), 0
  for look, count in enumerate(seeds_at_looks(max(5, len(experiment.seeds))), start=1):
    started = clock()
    done = sweep(experiment, root, only=only, seeds=count, launcher=launcher, console=console)
    if done.result.exit_code:
      return done
    undecided = _look(done.directory, look)
    console.print(
      f"look {look} at {count} seeds, at a level of {100 * (1 - alpha_at(look)):.4g} %: "
      f"{undecided} of {len(experiment.claims)} claims undecided",
      highlight=False,
    )
    if not undecided:
      return done
    per_seed = (clock() - started) / (count - count_before)
    following = next(n for n in seeds_at_looks(max(5, len(experiment.seeds))) if n > count)
    hours = (clock() - began + per_seed * (following - count)) / 3600
    if hours > max_hours:
      console.print(
        f"stopped: {following} seeds would take {hours:.2f} hours in all, and --max_hours is "
        f"{max_hours:g}. Repeat the command with more to go on",
        highlight=False,
      )
      return done
    count_before = count
  raise AssertionError("there is always another look")


def _look(directory: Path, look: int) -> int:
  """Counts a look at a sweep's verdicts; returns how many claims are inconclusive."""
  saved = read_experiment(directory)
  looked = dataclasses.replace(saved, looks=max(saved.looks, look))
  save_experiment(directory, looked)
  runs = collect(directory, looked)
  verdicts = judge(looked, runs, load(directory, runs, looked.metric))
  return sum(verdict.verdict == INCONCLUSIVE for verdict in verdicts)
