"""Scripts that draw further figures of a finished sweep: `python -m experiments.X.Y runs/X`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
from matplotlib.figure import Figure

from cnnlab.errors import CnnlabError, printable
from cnnlab.lab.report.write import FIGURES
from cnnlab.plot_style import save
from cnnlab.terminal import log_to_stderr


def run_script(main: Callable[[Path], None], about: str | None) -> NoReturn:
  """Calls `main` with the sweep's directory that the command line names, and exits.

  What a user can cause, such as a directory without runs, is told in one line.

  Args:
    main: writes the figures.
    about: the script's docstring, for `--help`.
  """
  parser = argparse.ArgumentParser(
    description=about, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("sweep", type=Path, help="the directory of a finished sweep")
  log_to_stderr()
  try:
    main(parser.parse_args().sweep)
  except CnnlabError as error:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    sys.exit(error.exit_code)
  sys.exit()


def add_figure(sweep: Path, name: str, figure: Figure, table: pd.DataFrame) -> None:
  """Writes a figure and its numbers to figures/<name>.{svg,png,csv} of a sweep's directory."""
  drawn = save(figure, sweep / FIGURES, name)
  table.to_csv(drawn.with_suffix(".csv"), index=False)
  print(drawn)
