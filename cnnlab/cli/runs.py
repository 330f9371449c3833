"""Show every run in a directory tree: status, step, metrics, and differences of the configs.

cnnlab runs runs
cnnlab runs runs --where status=done --where 'model.name=resnet*'
cnnlab runs runs --columns optim.learning_rate,eval/cross_entropy,seconds
cnnlab runs runs --watch
cnnlab runs runs --csv > runs.csv
cnnlab runs runs --html runs.html

The last value of a metric is the result; the best was chosen among all evaluations by the examples
that it is of. Of the config keys that differ, those that tell most runs apart are shown.
With --watch the table is updated until Ctrl-C, with active runs at the top. Only the directories
are read, so any machine that can access them can watch any sweep.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from collections.abc import Sequence

  from rich.console import Console
  from rich.table import Table

  from cnnlab.runs.table import Entry

# Runs that may need attention come first.
_ORDER = ("running", "failed", "diverged", "dead", "damaged", "interrupted", "queued", "done")
MOST_KEYS = 4  # config keys that the terminal shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument("directory", nargs="?", default="runs", help="where to look (default: runs)")
  parser.add_argument(
    "--where",
    action="append",
    default=[],
    metavar="CONDITION",
    help="only runs with KEY=VALUE, or != < > <= >=; of a column, a config key or a metric; repeatable",
  )
  parser.add_argument(
    "--columns",
    metavar="KEY,KEY",
    help="show these config keys, metrics, or costs (seconds, parameters, multiply_adds)",
  )
  parser.add_argument("--csv", action="store_true", help="print CSV, with all keys that differ")
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
  from cnnlab.errors import ConfigError, printable
  from cnnlab.terminal import SafeConsole

  columns = [name.strip() for name in (arguments.columns or "").split(",") if name.strip()]
  if arguments.html:
    if columns or arguments.where:
      raise ConfigError(
        "--html shows every run, and filters there; leave --where and --columns out"
      )
    from cnnlab.lab.report.runs_page import write_runs_page

    print(write_runs_page(arguments.directory, arguments.html))
    return 0
  if arguments.watch:
    return watch(arguments.directory, arguments.every, SafeConsole(), arguments.where, columns)
  found = _found(arguments.directory, arguments.where, columns)
  if arguments.csv:
    from cnnlab.runs.table import table_of

    print(printable(table_of(found, columns).to_csv(index=False)), end="")
    return 0
  SafeConsole().print(_table(found, arguments.directory, columns))
  return 0


def watch(
  directory: str,
  every: float,
  console: Console,
  where: Sequence[str] = (),
  columns: Sequence[str] = (),
) -> int:
  """Updates the table every few seconds until Ctrl-C; returns the exit code.

  Args:
    directory: where to look for runs.
    every: seconds between updates.
    console: where the table is shown.
    where, columns: as of the command line.

  Raises:
    RunError: the directory does not exist.
    ConfigError: a condition or a column that no run has.
  """
  import time

  from rich.live import Live

  def current() -> Table:
    found = _found(directory, where, columns)
    found.sort(key=lambda entry: _rank(entry.row["status"]))
    shown = _table(found, directory, columns)
    totals: dict[str, int] = {}
    for entry in found:
      totals[entry.row["status"]] = totals.get(entry.row["status"], 0) + 1
    counts = ", ".join(f"{count} {status}" for status, count in totals.items())
    shown.caption = f"{counts}\n{shown.caption}" if shown.caption else counts
    return shown

  try:
    with Live(current(), console=console, auto_refresh=False) as live:
      while True:
        time.sleep(max(every, 0.1))
        live.update(current(), refresh=True)
  except KeyboardInterrupt:
    return 0


def _rank(status: str) -> int:
  return _ORDER.index(status) if status in _ORDER else 0


def _found(directory: str, where: Sequence[str], columns: Sequence[str]) -> list[Entry]:
  """Returns the runs that meet the conditions.

  Raises:
    RunError: the directory does not exist.
    ConfigError: a condition cannot be read, or it or a column names what no run has.
  """
  from cnnlab.runs.selection import check_names, choose
  from cnnlab.runs.table import entries

  found = entries(directory)
  check_names(columns, found, "--columns")
  return choose(found, where)


def _table(found: Sequence[Entry], directory: str, columns: Sequence[str]) -> Table:
  from cnnlab.lab.report import console
  from cnnlab.runs.table import table_of, telling_keys, varying_keys

  notes = []
  if not columns:
    configs = [entry.config for entry in found]
    hidden = set(varying_keys(configs)) - set(telling_keys(configs, MOST_KEYS))
    if hidden:
      names = ", ".join(sorted(hidden)[:3]) + (", ..." if len(hidden) > 3 else "")
      notes = [f"{len(hidden)} more keys differ ({names}): --columns shows them, or --csv."]
  return console.runs_table(table_of(found, columns, MOST_KEYS), directory, notes)
