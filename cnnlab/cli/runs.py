"""A table of every run below a directory: status, step, best and last metric, what differs in the configs.

cnnlab runs runs
cnnlab runs runs --watch
cnnlab runs runs --csv > runs.csv

With --watch the table is live, what is under way on top, until Ctrl-C. It reads the directories
alone: any machine that sees them can watch, however the sweep was launched.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from rich.console import Console
  from rich.table import Table

# From what needs a look to what does not.
_ORDER = ("running", "failed", "diverged", "dead", "broken", "interrupted", "queued", "done")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("directory", nargs="?", default="runs", help="default: runs")
  parser.add_argument("--csv", action="store_true", help="as CSV")
  parser.add_argument("--watch", action="store_true", help="live, until Ctrl-C")
  parser.add_argument(
    "--every", type=float, default=2.0, metavar="SECONDS", help="between two looks (default 2)"
  )


def run(arguments: argparse.Namespace) -> int:
  """Prints the table; returns the exit code."""
  from cnnlab.runs.table import runs_table

  if arguments.csv:
    runs_table(arguments.directory).to_csv(sys.stdout, index=False)
    return 0

  from rich.console import Console

  from cnnlab.lab import console

  if arguments.watch:
    return watch(arguments.directory, arguments.every, Console())
  Console().print(console.runs_table(runs_table(arguments.directory), arguments.directory))
  return 0


def watch(directory: str, every: float, console: Console) -> int:
  """Shows the table anew every few seconds until Ctrl-C; returns the exit code.

  Raises:
    RunError: the directory does not exist.
  """
  import time

  from rich.live import Live

  try:
    with Live(_table(directory), console=console, auto_refresh=False) as live:
      while True:
        time.sleep(max(every, 0.1))
        live.update(_table(directory), refresh=True)
  except KeyboardInterrupt:
    return 0


def _table(directory: str) -> Table:
  """Returns the table of this moment: by status, and how many runs there are of each."""
  from cnnlab.lab import console
  from cnnlab.runs.table import runs_table

  runs = runs_table(directory)
  rank = {status: place for place, status in enumerate(_ORDER)}
  places = runs["status"].map(lambda status: rank.get(status, 0))
  shown = console.runs_table(runs.loc[places.sort_values(kind="stable").index], directory)
  counts = runs["status"].value_counts()
  shown.caption = ", ".join(
    f"{counts[s]} {s}" for s in sorted(counts.index, key=lambda s: rank.get(s, 0))
  )
  shown.caption_justify = "left"
  return shown
