"""Scripts that draw further figures of a finished sweep: `python -m experiments.X.Y runs/X`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cnnlab.errors import CnnlabError, printable
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
