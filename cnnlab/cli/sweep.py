"""Train every variant and seed of an experiment, then print its table and write its report.

  cnnlab sweep experiments/downsampling_digits --root runs
  cnnlab sweep experiments/downsampling_digits --only 'max stride' --seeds 5 --dry_run
  cnnlab sweep experiments/all_cnn --recipe quick --config.data.dir=DATA_DIR --root runs

Runs are at ROOT/<experiment>/<variant>/seed<k>. Finished runs are skipped and interrupted ones
resumed, so run the same command to resume a sweep. If a run fails, its error is recorded and the
other runs continue. Before anything starts, variants that would train identically are reported as
"not wired": the overrides that distinguish them have no effect. Exit code: 0 if every run is done,
1 if some are not, 2 if nothing could be started, 130 if interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from rich.console import Console

  from cnnlab.lab.experiment import Experiment
  from cnnlab.lab.plan import RunSpec

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument("experiment", help="a folder in experiments/, or its name")
  parser.add_argument(
    "--recipe", default="", help="form of the experiment, such as quick, paper or tiny"
  )
  parser.add_argument(
    "--root", default="runs", metavar="DIR", help="where the runs go (default runs)"
  )
  parser.add_argument(
    "--only", metavar="PATTERNS", help="train only these variants, such as 'max str*'"
  )
  parser.add_argument("--seeds", type=int, metavar="N", help="use seeds 0 to N-1")
  parser.add_argument(
    "--on", default="local", metavar="LAUNCHER", help="launcher: local (default), ray or slurm"
  )
  parser.add_argument(
    "--option",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="option of the launcher, such as partition=gpu (slurm), address=auto (ray); repeatable",
  )
  parser.add_argument(
    "--workers",
    type=int,
    metavar="N",
    help="runs at the same time (default: depends on the device)",
  )
  parser.add_argument(
    "--together",
    type=int,
    default=1,
    metavar="N",
    help="train up to N runs that differ only in seed or optim.learning_rate as one compiled "
    "program, for accelerators that one run does not fill (default 1: off; slower on a CPU). "
    "Needs the local launcher, parallel=jit and data on the device; other runs are trained alone. "
    "Each run has its usual directory. After a kill, runs at older checkpoints first catch up with "
    "the others",
  )
  parser.add_argument(
    "--dry_run", action="store_true", help="print the plan and its cost, and stop"
  )
  parser.add_argument(
    "--strict", action="store_true", help="start nothing if two variants would train identically"
  )
  parser.add_argument("--config.KEY", metavar="VALUE", help="override a key in all variants")


def run(arguments: argparse.Namespace) -> int:
  """Runs the sweep and writes its report; returns the exit code."""
  from rich.console import Console

  from cnnlab.errors import ConfigError, unknown
  from cnnlab.lab import load_experiment, plan
  from cnnlab.lab.console import plan_table
  from launch.settings import parse_settings
  from launch.sweep import LAUNCHERS, sweep

  console = Console()
  settings = parse_settings(arguments.option)
  if arguments.together != 1:
    settings["together"] = str(arguments.together)
  if arguments.on not in LAUNCHERS:
    raise ConfigError(unknown("launcher", arguments.on, LAUNCHERS))
  experiment = load_experiment(arguments.experiment, arguments.recipe)
  experiment = _with_overrides(experiment, arguments.overrides)
  part = {"only": arguments.only, "seeds": arguments.seeds}
  specs = plan(experiment, arguments.root, **part)
  if arguments.dry_run:
    console.print(plan_table(specs))
  if not _examine(specs, Path(arguments.root) / experiment.name, arguments, console):
    return 2
  if arguments.dry_run:
    return 0

  from cnnlab.cli.report import report

  chosen = {"on": arguments.on, "workers": arguments.workers, "settings": settings}
  done = sweep(experiment, arguments.root, **part, **chosen, console=console)
  report(done.directory, console)
  return done.result.exit_code


def _with_overrides(experiment: Experiment, arguments: list[str]) -> Experiment:
  from cnnlab.config import load_page, parse_overrides

  given = parse_overrides(arguments, load_page(experiment.config))
  return dataclasses.replace(experiment, overrides={**experiment.overrides, **given})


def _examine(
  specs: list[RunSpec], directory: Path, arguments: argparse.Namespace, console: Console
) -> bool:
  """Prints problems of the variants and the cost of the sweep; returns whether to continue.

  Raises:
    ConfigError: no variant can be set up.
  """
  from cnnlab.errors import ConfigError
  from cnnlab.lab.cost import estimate_cost
  from cnnlab.lab.wiring import examine, unwired
  from launch.hardware import shares, usable_gpus

  if not any(spec.to_do for spec in specs):
    return True
  with console.status("checking that the variants differ"):
    examined = examine(specs)
  broken = [one for one in examined if one.error]
  if len(broken) == len(examined):
    raise ConfigError(broken[0].error)
  same = unwired(examined, specs)
  for one in broken:
    console.print(f"variant {one.label!r} cannot be set up: {one.error}", style="red", markup=False)
  for group in same:
    console.print(f"not wired: {group}", style="red", markup=False, soft_wrap=True)
  workers = len(shares(arguments.workers, sum(spec.to_do for spec in specs)))
  device = "GPU" if usable_gpus() else "CPU core"
  cost = estimate_cost(specs, examined, directory, workers, device)
  console.print(str(cost), highlight=False, soft_wrap=True)
  if arguments.strict and (broken or same):
    console.print("--strict: nothing was started", style="red")
    return False
  return True
