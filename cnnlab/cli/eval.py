"""Evaluate a run's newest readable checkpoint on every example of its evaluation split.

  cnnlab eval --workdir=runs/x
  cnnlab eval --workdir=runs/x/checkpoints/500 --config.data.eval_split=train

Only the run or checkpoint directory and the data set are needed. The keys of `data` and
`eval_batch_size` can be overridden. The last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import json

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a run or checkpoint directory"
  )
  parser.add_argument(
    "--config.data.KEY", metavar="VALUE", help="override a key of the data, such as data.dir"
  )


def run(arguments: argparse.Namespace) -> int:
  """Evaluates the run; returns the exit code."""
  from cnnlab.config import parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.train.restore import evaluate_run

  overrides = parse_overrides(arguments.overrides, default_config())
  metrics = evaluate_run(arguments.workdir, overrides)
  print(f"{metrics['eval/count']} examples, step {metrics['step']}")
  print(json.dumps(metrics))
  return 0
