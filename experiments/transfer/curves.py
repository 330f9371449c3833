"""Draws the test error of each method of a finished sweep over the number of target images.

The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.transfer.curves runs/transfer
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cnnlab.errors import RunError
from cnnlab.experiments.transfer.experiment import AMOUNTS, METHODS, TARGETS
from cnnlab.lab import collect
from cnnlab.lab.report.write import FIGURES
from cnnlab.lab.script import run_script
from cnnlab.plot_style import STYLE, WIDTH, page, save

MARKERS = "osD^"


def errors_of_sweep(sweep: Path) -> pd.DataFrame:
  """Returns the test error of every finished run: `method`, `target`, `images`, `seed`, `error`.

  Raises:
    RunError: there is none.
  """
  runs = collect(sweep)
  runs = runs[runs["value"].notna()]
  if runs.empty:
    raise RunError(f"{str(sweep)!r} holds no finished run")
  parts = runs["variant"].str.split("_", expand=True)
  return pd.DataFrame({
    "method": parts[0], "target": parts[1], "images": parts[2].astype(int), "seed": runs["seed"],
    "error": runs["value"],
  })  # fmt: skip


def curves_figure(errors: pd.DataFrame) -> Figure:
  """Returns the means over seeds and the range of all seeds, a panel for each target."""
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, WIDTH * 0.45)
    for axes, target in zip(figure.subplots(1, len(TARGETS)), TARGETS, strict=True):
      for method, marker in zip(METHODS, MARKERS, strict=True):
        chosen = errors[(errors["method"] == method) & (errors["target"] == target)]
        found = 100 * chosen.groupby("images")["error"].agg(["mean", "min", "max"])
        apart = [found["mean"] - found["min"], found["max"] - found["mean"]]
        axes.errorbar(found.index, found["mean"], apart, marker=marker, capsize=2, label=method)
      axes.set(xscale="log", yscale="log", title=f"{target.capitalize()} target")
      axes.set_xticks(list(AMOUNTS), map(str, AMOUNTS))
      axes.set_xticks([], minor=True)
      axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 5, 7)))
      axes.yaxis.set_major_formatter("{x:g}")
      axes.yaxis.set_minor_formatter(NullFormatter())
      axes.set(xlabel="training images", ylabel="test error (%)")
    axes.legend()
  return figure


def main(directory: Path) -> None:
  """Writes figures/transfer_curves.{svg,png,csv} to a sweep's directory."""
  table = errors_of_sweep(directory)
  drawn = save(curves_figure(table), directory / FIGURES, "transfer_curves")
  table.to_csv(drawn.with_suffix(".csv"), index=False)
  print(drawn)


if __name__ == "__main__":
  run_script(main, __doc__)
