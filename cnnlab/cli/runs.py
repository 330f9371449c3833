"""A table of every run below a directory: status, step, best and last metric, what differs in the configs.

cnnlab runs runs
cnnlab runs runs --csv > runs.csv
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("directory", nargs="?", default="runs", help="default: runs")
  parser.add_argument("--csv", action="store_true", help="as CSV")


def run(arguments: argparse.Namespace) -> int:
  """Prints the table; returns the exit code."""
  from cnnlab.runs.table import runs_table

  table = runs_table(arguments.directory)
  if arguments.csv:
    table.to_csv(sys.stdout, index=False)
    return 0

  from rich.console import Console

  from cnnlab.lab import console

  Console().print(console.runs_table(table, arguments.directory))
  return 0
