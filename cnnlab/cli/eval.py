"""Evaluate a run's newest readable checkpoint on every example of its evaluation split.

  cnnlab eval --workdir=runs/x
  cnnlab eval --workdir=runs/x --per_class --confusion
  cnnlab eval --workdir=runs/x/checkpoints/best --out=evaluation
  cnnlab eval --workdir=runs/x --config.data.eval_split=train
  cnnlab eval --workdir=runs/x --reestimate=200

Only the run or checkpoint directory and the data set are needed. The keys of `data`,
`eval_batch_size` and `task.crf` can be overridden. With --out, all tables are saved as CSV, with the prediction
for each example, and figures, such as the most confident mistakes. With --reestimate, norms are
evaluated with statistics of that many training batches instead of the moving averages of the training:
those of averaged parameters (`ema_decay`), and the "batch average" of switchable norm. The last line of
the output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cnnlab.tasks.analysis import Analysis

TAKES_OVERRIDES = True
TABLES = {
  "per_class": "show the results of each class",
  "confusion": "show which classes are taken for which",
  "calibration": "show how often the network is right at each confidence",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--workdir",
    required=True,
    metavar="DIR",
    help="a run or checkpoint directory; DIR/checkpoints/best is the best by the main metric",
  )
  for name, text in TABLES.items():
    parser.add_argument(f"--{name}", action="store_true", help=text)
  parser.add_argument("--out", metavar="DIR", help="save tables and figures in a new directory")
  parser.add_argument(
    "--reestimate", type=int, metavar="BATCHES",
    help="training batches over which the norms' averages are estimated anew (default: they are kept)",
  )  # fmt: skip
  parser.add_argument(
    "--config.data.KEY", metavar="VALUE", help="override a key of the data, such as data.dir"
  )


def run(arguments: argparse.Namespace) -> int:
  """Evaluates the run; returns the exit code."""
  from cnnlab.cli.progress import Working
  from cnnlab.config import parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.errors import ConfigError, printable
  from cnnlab.runs.files import new_folder
  from cnnlab.train.restore import evaluate_run

  overrides = parse_overrides(arguments.overrides, default_config())
  asked = [name for name in TABLES if getattr(arguments, name)]
  if arguments.reestimate is not None and arguments.reestimate < 1:
    raise ConfigError(f"--reestimate is {arguments.reestimate}; allowed: 1 batch or more")
  reestimate = arguments.reestimate or 0
  out = new_folder("--out", arguments.out) if arguments.out is not None else None
  if not asked and out is None:
    with Working("evaluating") as bar:
      metrics = evaluate_run(arguments.workdir, overrides, bar.count, reestimate)
  else:
    from cnnlab.train.analysis import analyze_run, save_analysis

    with Working("evaluating") as bar:
      found = analyze_run(arguments.workdir, overrides, bar.count, reestimate)
    metrics = found.metrics
    summary = found.analysis.summary if found.analysis else {}
    if asked:
      _show(found.analysis, asked)
    for file in save_analysis(found, out) if out is not None else []:
      print(printable(f"saved: {file}"))
    print("; ".join(f"{name}: {value}" for name, value in summary.items()))
  print(f"{metrics['eval/count']} examples, step {metrics['step']}")
  print(json.dumps(metrics))
  return 0


def _show(analysis: Analysis | None, asked: list[str]) -> None:
  """Prints the tables that are asked for.

  Raises:
    ConfigError: the task of the run does not make one of them.
  """
  from rich.table import Table

  from cnnlab.errors import ConfigError
  from cnnlab.terminal import SafeConsole

  tables = analysis.tables if analysis else {}
  for name in asked:
    if name not in tables:
      raise ConfigError(
        f"--{name}: the task of this run makes no such table; it makes: {', '.join(tables) or 'none'}"
      )
    made = tables[name]
    table = Table(title=name.replace("_", " "), caption=made.about)
    table.title_justify = table.caption_justify = "left"
    for place, heading in enumerate(made.shown.columns):
      left = place == 0 or heading in made.words
      table.add_column(str(heading), justify="left" if left else "right")
    for row in made.shown.itertuples(index=False):
      table.add_row(*row)
    SafeConsole().print(table)
