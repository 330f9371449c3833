"""Train every variant and seed of an experiment, then print its table and write its report.

  cnnlab sweep experiments/downsampling_digits --root runs
  cnnlab sweep experiments/downsampling_digits --only 'max stride' --seeds 5 --dry_run

Runs lie at ROOT/<experiment>/<variant>/seed<k>. Finished ones are skipped and interrupted ones
resumed, so the same command goes on after Ctrl-C, a crash or a reboot. A run that fails is
recorded with its error while the rest go on. Exit code: 0 when every run is done, 1 when some
are not, 130 when interrupted.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("experiment", help="a folder of experiments/, or its name")
  parser.add_argument("--recipe", default="", help="of the experiment, such as quick, paper, tiny")
  parser.add_argument(
    "--root", default="runs", metavar="DIR", help="where the runs go (default runs)"
  )
  parser.add_argument("--only", metavar="PATTERNS", help="variants, such as 'max str*'")
  parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1 instead of its own")
  parser.add_argument("--on", default="local", metavar="LAUNCHER", help="local (default)")
  parser.add_argument(
    "--workers", type=int, metavar="N", help="runs at a time (default: by device)"
  )
  parser.add_argument("--dry_run", action="store_true", help="print the plan and stop")


def run(arguments: argparse.Namespace) -> int:
  """Sweeps and reports; returns the exit code."""
  from rich.console import Console

  from cnnlab.lab import load_experiment, plan
  from cnnlab.lab.console import plan_table

  console = Console()
  experiment = load_experiment(arguments.experiment, arguments.recipe)
  part = {"only": arguments.only, "seeds": arguments.seeds}
  if arguments.dry_run:
    console.print(plan_table(plan(experiment, arguments.root, **part)))
    return 0

  from cnnlab.cli.report import report
  from launch.sweep import sweep

  chosen = {"on": arguments.on, "workers": arguments.workers, "console": console}
  done = sweep(experiment, arguments.root, **part, **chosen)
  report(done.directory, console)
  return done.result.exit_code
