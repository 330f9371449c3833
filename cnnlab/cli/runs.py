"""Show every run in a directory tree: status, step, metrics, and differences of the configs.

cnnlab runs runs
cnnlab runs runs --watch
cnnlab runs runs --csv > runs.csv
cnnlab runs runs --html runs.html

With --watch the table is updated until Ctrl-C, with active runs at the top. Only the directories
are read, so any machine that can access them can watch any sweep.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from rich.console import Console
  from rich.table import Table

# Runs that may need attention come first.
_ORDER = ("running", "failed", "diverged", "dead", "damaged", "interrupted", "queued", "done")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument("directory", nargs="?", default="runs", help="where to look (default: runs)")
  parser.add_argument("--csv", action="store_true", help="print CSV")
  parser.add_argument(
    "--html",
    metavar="FILE",
    help="write one HTML file that filters, sorts and draws the runs, and print its path",
  )
  parser.add_argument("--watch", action="store_true", help="update the table until Ctrl-C")
  parser.add_argument(
    "--every", type=float, default=2.0, metavar="SECONDS", help="time between updates (default 2)"
  )


def run(arguments: argparse.Namespace) -> int:
  """Prints the table; returns the exit code."""
  from cnnlab.errors import printable
  from cnnlab.runs.table import runs_table

  if arguments.csv:
    print(printable(runs_table(arguments.directory).to_csv(index=False)), end="")
    return 0

  if arguments.html:
    from cnnlab.lab.report.runs_page import write_runs_page

    print(write_runs_page(arguments.directory, arguments.html))
    return 0

  from cnnlab.lab.report import console
  from cnnlab.terminal import SafeConsole

  if arguments.watch:
    return watch(arguments.directory, arguments.every, SafeConsole())
  SafeConsole().print(console.runs_table(runs_table(arguments.directory), arguments.directory))
  return 0


def watch(directory: str, every: float, console: Console) -> int:
  """Updates the table every few seconds until Ctrl-C; returns the exit code.

  Args:
    directory: where to look for runs.
    every: seconds between updates.
    console: where the table is shown.

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
  """Returns the current table, sorted by status, with the number of runs of each status."""
  from cnnlab.lab.report import console
  from cnnlab.runs.table import runs_table

  runs = runs_table(directory)
  rank = {status: place for place, status in enumerate(_ORDER)}
  places = runs["status"].map(lambda status: rank.get(status, 0))
  shown = console.runs_table(runs.loc[places.sort_values(kind="stable").index], directory)
  counts = runs["status"].value_counts()
  totals = ", ".join(f"{counts[s]} {s}" for s in sorted(counts.index, key=lambda s: rank.get(s, 0)))
  shown.caption = f"{totals}\n{shown.caption}" if shown.caption else totals
  return shown
