"""Train a network from a config page; run the same command to resume.

  cnnlab train --config=configs/digits.py --config.optim.learning_rate=0.1 --workdir=runs/x
  cnnlab train --config=configs/cifar.py:resnet20 --config.data.dir=DATA_DIR --workdir=runs/y

All keys and defaults are in cnnlab/defaults.py; `--print_config` shows the config of a page.
"""

from __future__ import annotations

import argparse
import json

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--config",
    required=True,
    metavar="PAGE[:FORM]",
    help="a config page, such as configs/digits.py",
  )
  parser.add_argument("--workdir", metavar="DIR", help="the run directory")
  parser.add_argument("--print_config", action="store_true", help="print the config and stop")
  parser.add_argument("--config.KEY", metavar="VALUE", help="override a key; repeatable")


def run(arguments: argparse.Namespace) -> int:
  """Trains the network; returns the exit code."""
  from cnnlab.config import apply_overrides, load_page, parse_overrides, to_plain
  from cnnlab.errors import ConfigError, printable

  page = load_page(arguments.config)
  overrides = parse_overrides(arguments.overrides, page)
  config = apply_overrides(page, overrides)
  if arguments.print_config:
    print(json.dumps(to_plain(config), indent=2))
    return 0
  if not arguments.workdir:
    raise ConfigError("--workdir is required: it names the run directory")

  from cnnlab.cli.progress import TrainProgress, describe_row, print_parts
  from cnnlab.terminal import SafeConsole

  with TrainProgress(config.model.name) as bar:
    from cnnlab.imports import import_modules
    from cnnlab.tasks import main_metric  # with JAX, which takes a moment
    from cnnlab.train import train

    import_modules(config.imports)  # one may bring the task
    bar.watched = main_metric(config.task.name)
    row = train(
      config,
      arguments.workdir,
      asked=overrides,
      progress=bar.step,
      report=bar.report,
      pace=bar.pace,
    )
  print_parts(SafeConsole(), [f"done: step {row['step']}", *describe_row(row, bar.watched)])
  print(printable(f"run directory: {arguments.workdir}"))
  return 0
