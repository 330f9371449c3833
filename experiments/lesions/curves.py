"""Draws the error of a finished sweep's nets over the number of blocks removed from them.

The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.lesions.curves runs/lesions
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.errors import RunError
from cnnlab.lab.experiment import read_experiment
from cnnlab.lab.script import add_figure, run_script
from cnnlab.plot_style import BLUE, GREEN, STYLE, VERMILION, note, page
from cnnlab.runs import load

PREFIX = "eval/error_without/"
LOOKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"))


def removal_curves(sweep: Path) -> pd.DataFrame:
  """Returns `variant`, `seed`, `removed` (0: the whole net) and `error` of the finished runs.

  Raises:
    RunError: there is no such run.
  """
  rows = []
  for label in read_experiment(sweep).variants:
    for directory in sorted(sweep.glob(f"{label}/seed*")):
      run = load(directory)
      if run.status["status"] != "done":
        continue
      last, seed = run.metrics.iloc[-1], run.config.seed
      rows.append((label, seed, 0, last["eval/error"]))
      counts = [name.removeprefix(PREFIX) for name in last.index if name.startswith(PREFIX)]
      rows += [(label, seed, int(count), last[PREFIX + count]) for count in counts]
  if not rows:
    raise RunError(f"{str(sweep)!r} has no finished run")
  table = pd.DataFrame(rows, columns=["variant", "seed", "removed", "error"])
  return table.sort_values(["variant", "seed", "removed"], ignore_index=True)


def curves_figure(table: pd.DataFrame) -> Figure:
  """Draws mean and range over seeds of each variant."""
  with matplotlib.rc_context(STYLE):
    figure = page(5.6, 3.8)
    axes = figure.subplots()
    for label, (color, marker) in zip(table["variant"].unique(), LOOKS, strict=False):
      own = table[table["variant"] == label]
      across = 100 * own.groupby("removed")["error"].agg(["mean", "min", "max"])
      axes.plot(across.index, across["mean"], color=color, marker=marker, ms=4, label=label)
      axes.fill_between(across.index, across["min"], across["max"], color=color, alpha=0.16, lw=0)
    axes.set_xlabel("blocks removed at random")
    axes.set_ylabel("test error (%)")
    axes.set_title("Error without some blocks")
    axes.legend()
    note(figure, "Line: mean over seeds. Band: lowest to highest. Each value is a mean over draws.")
  return figure


def main(directory: Path) -> None:
  """Writes figures/error_without_blocks.{svg,png,csv} to a sweep's directory."""
  table = removal_curves(directory)
  add_figure(directory, "error_without_blocks", curves_figure(table), table)


if __name__ == "__main__":
  run_script(main, __doc__)
