"""Write the report of a run, or rebuild that of an experiment from its run directories.

cnnlab report runs/x                    # a single run: curves, config, cost, mistakes
cnnlab report runs/downsampling_digits
cnnlab report runs                      # every experiment in the folder
cnnlab report experiments --claims      # a table of the claims in all reports, as in the README
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "directory", help="the directory of a run or of a sweep, or a folder with several sweeps"
  )
  parser.add_argument(
    "--claims",
    action="store_true",
    help="only print the claims of all reports in the directory, as Markdown",
  )
  parser.add_argument(
    "--as_saved",
    action="store_true",
    help="report the claims of experiment.json, even if the experiment's file was edited since",
  )
  parser.add_argument("--out", metavar="DIR", help="where to write (default: report/ in DIRECTORY)")


def run(arguments: argparse.Namespace) -> int:
  """Writes the reports; returns the exit code."""
  from cnnlab.errors import ConfigError, printable
  from cnnlab.lab.results import find_sweeps
  from cnnlab.runs.loading import is_run
  from cnnlab.terminal import SafeConsole

  if arguments.claims:
    from cnnlab.lab.report.claims import claims_markdown

    print(claims_markdown(arguments.directory), end="")
    return 0
  if is_run(Path(arguments.directory)):
    from cnnlab.lab.report.run_report import write_run_report

    print(printable(f"report: {write_run_report(arguments.directory, arguments.out)}"))
    return 0
  sweeps = find_sweeps(arguments.directory)
  if arguments.out and len(sweeps) > 1:
    names = ", ".join(sweep.name for sweep in sweeps)
    raise ConfigError(
      f"--out is for a single report, but {arguments.directory} holds {names}; name one"
    )
  for sweep in sweeps:
    report(sweep, SafeConsole(), arguments.out, arguments.as_saved)
  return 0


def report(
  directory: Path, console: Console, out: str | None = None, as_saved: bool = False
) -> None:
  """Writes the report of one sweep; prints its table, its verdicts and its path."""
  from cnnlab.lab.report.console import summary_table, verdict_table
  from cnnlab.lab.report.write import write_report

  written = write_report(directory, out, as_saved)
  console.print(summary_table(written.experiment, written.summary, console.width))
  for note in written.notes:
    console.print(note, highlight=False, markup=False)
  if written.verdicts:
    console.print(verdict_table(written.verdicts, written.experiment.declared))
    console.print()
  if written.confirmed:
    console.print(f"on seeds {', '.join(map(str, written.experiment.confirmed_by))} alone:")
    console.print(verdict_table(written.confirmed, written.experiment.declared))
    console.print()
  console.print(f"report: {written.html}", soft_wrap=True, highlight=False, markup=False)
