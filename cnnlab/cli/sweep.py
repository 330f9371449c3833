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
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from collections.abc import Sequence

  from rich.console import Console

  from cnnlab.lab.experiment import Experiment
  from cnnlab.lab.plan import RunSpec
  from cnnlab.lab.wiring import Examined

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "experiment", nargs="?", help="a folder with an experiment.py, or a name in experiments/"
  )
  parser.add_argument(
    "--new", metavar="DIR", help="write a commented experiment.py to start from to DIR, and stop"
  )
  parser.add_argument(
    "--recipe", default="", help="form of the experiment, such as quick, paper or tiny"
  )
  parser.add_argument(
    "--root", default="runs", metavar="DIR", help="where the runs go (default runs)"
  )
  parser.add_argument(
    "--only", metavar="PATTERNS", help="train only these variants, such as 'max str*'"
  )
  parser.add_argument(
    "--seeds", metavar="SEEDS", help="a count (5 is 0 to 4), a range (100..109) or a list (3,7)"
  )
  parser.add_argument(
    "--until",
    choices=("decided",),
    help="add seeds (5, 8, 12, 18, ...) until no claim is inconclusive; the level of each look at "
    "the verdicts is corrected for the looks",
  )
  parser.add_argument(
    "--max_hours",
    type=float,
    default=1.0,
    metavar="H",
    help="with --until: begin no look that would probably end later (default 1)",
  )
  parser.add_argument(
    "--confirm",
    action="store_true",
    help="test the claims once more, on the fresh --seeds alone; the claims are frozen by it",
  )
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
  from cnnlab.errors import ConfigError
  from cnnlab.lab import load_experiment
  from cnnlab.lab.plan import parse_seeds, plan, plan_tuning
  from cnnlab.lab.report.console import plan_table
  from cnnlab.launch.settings import parse_settings
  from cnnlab.launch.sweep import Launcher, sweep
  from cnnlab.runs.files import check_folder
  from cnnlab.terminal import SafeConsole

  if arguments.new:
    return _write_new(arguments.new)
  if arguments.experiment is None:
    raise ConfigError("name an experiment, or write one with --new DIR")
  console = SafeConsole()
  settings = parse_settings(arguments.option)
  if arguments.together != 1:
    settings["together"] = str(arguments.together)
  launcher = Launcher(arguments.on, arguments.workers, settings)
  launcher.check()
  experiment = load_experiment(arguments.experiment, arguments.recipe)
  experiment = _with_overrides(experiment, arguments.overrides)
  seeds = None if arguments.seeds is None else parse_seeds(arguments.seeds)
  if arguments.until and (seeds is not None or arguments.confirm):
    raise ConfigError("--until chooses the seeds itself; leave out --seeds and --confirm")
  if arguments.confirm and seeds is None:
    raise ConfigError("--confirm needs fresh seeds, such as --seeds 100..104")
  check_folder(Path(arguments.root))
  experiment = _as_tuned(experiment, Path(arguments.root))
  tuning = plan_tuning(experiment, arguments.root, arguments.only)
  specs = [*tuning, *plan(experiment, arguments.root, arguments.only, seeds)]
  if arguments.dry_run:
    console.print(plan_table(specs))
    if tuning:
      console.print("The other runs take over what the tuning runs choose.", highlight=False)
  if not _examine(experiment, specs, len(tuning), arguments, console):
    return 2
  if arguments.dry_run:
    return 0

  from cnnlab.cli.report import report
  from cnnlab.launch.until import sweep_until_decided

  if arguments.until:
    start = functools.partial(sweep_until_decided, max_hours=arguments.max_hours)
  else:
    start = functools.partial(sweep, seeds=seeds, confirm=arguments.confirm)
  done = start(
    experiment,
    arguments.root,
    only=arguments.only,
    launcher=launcher,
    console=console,
  )
  report(done.directory, console)
  return done.result.exit_code


def _write_new(directory: str) -> int:
  from cnnlab.errors import printable
  from cnnlab.lab.new import write_new

  file = write_new(directory)
  print(printable(f"{file}\nnext: cnnlab sweep {file.parent} --root runs --dry_run"))
  return 0


def _as_tuned(experiment: Experiment, root: Path) -> Experiment:
  """Returns the experiment with what an earlier call has tuned, if there is one."""
  from cnnlab.lab.experiment import FILE, read_experiment

  directory = root / experiment.name
  if not (directory / FILE).is_file():
    return experiment
  return dataclasses.replace(experiment, tuned=read_experiment(directory).tuned)


def _with_overrides(experiment: Experiment, arguments: list[str]) -> Experiment:
  from cnnlab.config import apply_overrides, load_page, parse_overrides

  page = apply_overrides(load_page(experiment.config), experiment.overrides)
  given = parse_overrides(arguments, page)
  return dataclasses.replace(experiment, overrides={**experiment.overrides, **given})


def _examine(
  experiment: Experiment,
  specs: list[RunSpec],
  tuning: int,
  arguments: argparse.Namespace,
  console: Console,
) -> bool:
  """Prints problems of the variants and the cost of the sweep; returns whether to continue.

  Args:
    experiment: the experiment.
    specs: the plan, the tuning runs first.
    tuning: how many of them are tuning runs.
    arguments: of the verb.
    console: where it prints.

  Raises:
    ConfigError: no variant can be set up, or a claim's metric is unknown.
  """
  from cnnlab.errors import ConfigError, DataError
  from cnnlab.lab.measures import check_measures
  from cnnlab.lab.plan import resolve
  from cnnlab.lab.wiring import examine, nearly_same, unwired
  from cnnlab.runs.loggers import LOGGERS, Loggers

  if not any(spec.to_do for spec in specs):
    return True
  first, rest = specs[:tuning], specs[tuning:]
  for config in map(resolve, {spec.label: spec for spec in rest}.values()):
    # The modules that a run imports may register others.
    Loggers(n for n in config.loggers if n in LOGGERS or not config.imports)
  with console.status("checking that the variants differ"):
    examined = examine(rest)
  broken = [one for one in examined if one.error]
  if len(broken) == len(examined):
    if arguments.dry_run and broken[0].error.startswith(DataError.__name__):
      _print_cost_without_data(experiment, first, rest, arguments, console)
    raise ConfigError(broken[0].error)
  check_measures(experiment, rest, examined)
  same = [str(one) for one in unwired(examined, rest)]
  near = nearly_same(examined, rest, experiment.base)
  for one in broken:
    console.print(f"variant {one.label!r} cannot be set up: {one.error}", style="red", markup=False)
  for text in [f"not wired: {group}" for group in same] + [f"hardly wired: {one}" for one in near]:
    console.print(text, style="red", markup=False, soft_wrap=True)
  if arguments.strict and (broken or same or near):
    console.print("--strict: nothing was started", style="red")
    return False
  _print_cost(experiment, first, rest, examined, arguments, console)
  return True


def _print_cost_without_data(
  experiment: Experiment,
  tuning: list[RunSpec],
  specs: list[RunSpec],
  arguments: argparse.Namespace,
  console: Console,
) -> None:
  from cnnlab.lab.stand_in import stand_in
  from cnnlab.lab.wiring import examine

  first, rest = ([stand_in(spec) for spec in part] for part in (tuning, specs))
  known = [spec for spec in rest if spec is not None]
  examined = examine(known) if len(known) == len(rest) else []
  if not examined or any(one.error for one in examined):
    console.print("cost: not known without the data")
    return
  console.print("The data are missing: the cost is that of as many generated images.")
  stood_in = [spec for spec in first if spec is not None]
  _print_cost(experiment, stood_in, known, examined, arguments, console)


def _print_cost(
  experiment: Experiment,
  tuning: list[RunSpec],
  specs: list[RunSpec],
  examined: Sequence[Examined],
  arguments: argparse.Namespace,
  console: Console,
) -> None:
  from cnnlab.lab.cost import (
    check_and_measure,
    compiled_folders,
    estimate_cost,
    rate_of_runs,
    remembered,
    scaled,
  )
  from cnnlab.lab.helpers import in_helpers
  from cnnlab.launch.hardware import shares

  share = shares(arguments.workers, len(tuning) + len(specs))[0]
  whole = [one.label for one in examined if not one.error]
  compiled = compiled_folders([*tuning, *specs])
  timed = next(spec for spec in specs if spec.label in whole)
  rate = rate_of_runs(Path(arguments.root) / experiment.name)
  rate = rate or remembered(timed, len(share.cores))
  if rate is None or tuning:
    first = [spec.to_dict() for spec in tuning]
    task = (first, None if rate else timed.to_dict(), len(share.cores), time.time())
    with console.status("estimating the cost"):
      (measured,) = in_helpers(check_and_measure, [task], 1, share.claim)
    rate = rate or measured
  assert rate is not None
  stages = [(tuning, scaled(examined, specs, tuning)), (specs, examined)]
  workers = len(shares(arguments.workers, sum(one.to_do for one in (*tuning, *specs))))
  cost = estimate_cost(stages, rate, workers, compiled)
  console.print(str(cost), highlight=False, soft_wrap=not console.is_terminal)
