"""Draws the importance weights of switchable norms in a finished sweep, by depth.

The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.normalization.importance runs/normalization
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cnnlab.errors import RunError
from cnnlab.inspect.importance import importance_figure, importance_table
from cnnlab.lab.script import add_figure, run_script
from cnnlab.runs import load

PATTERN = "switchable_*/seed*"


def importance_of_sweep(sweep: Path) -> pd.DataFrame:
  """Returns the `importance_table` of every finished run with switchable norms.

  Returns:
    The columns of `importance_table`, with `batch_size` and `seed` before them.

  Raises:
    RunError: there is no such run.
  """
  tables = []
  for directory in sorted(sweep.glob(PATTERN)):
    run = load(directory)
    if run.status["status"] != "done":
      continue
    shape = tuple(run.config.derived.image_shape)
    table = importance_table(run.model, run.variables["params"], shape)
    table.insert(0, "batch_size", run.config.batch_size)
    table.insert(1, "seed", run.config.seed)
    tables.append(table)
  if not tables:
    raise RunError(f"no finished run matches {str(sweep / PATTERN)!r}")
  return pd.concat(tables).sort_values(["batch_size", "seed", "depth"], ignore_index=True)


def main(directory: Path) -> None:
  """Writes figures/switchable_importance.{svg,png,csv} to a sweep's directory."""
  table = importance_of_sweep(directory)
  table.insert(0, "networks", "batch size " + table["batch_size"].astype(str))
  figure = importance_figure(table, "networks")
  add_figure(directory, "switchable_importance", figure, table)


if __name__ == "__main__":
  run_script(main, __doc__)
