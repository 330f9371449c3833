"""The test error of each method of a finished sweep over the amount of training data.

For sweeps whose variants are called `<method>_<data>_<amount>`, such as `tuned_mnist_100`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cnnlab.errors import RunError
from cnnlab.lab import collect
from cnnlab.plot_style import STYLE, WIDTH, page

MARKERS = "osD^"


def errors_of_sweep(sweep: Path) -> pd.DataFrame:
  """Returns the test error of every finished run: `method`, `data`, `amount`, `seed`, `error`.

  Raises:
    RunError: there is none.
  """
  runs = collect(sweep)
  runs = runs[runs["value"].notna()]
  if runs.empty:
    raise RunError(f"{str(sweep)!r} holds no finished run")
  parts = runs["variant"].str.split("_", expand=True)
  return pd.DataFrame({
    "method": parts[0], "data": parts[1], "amount": parts[2].astype(int), "seed": runs["seed"],
    "error": runs["value"],
  })  # fmt: skip


def curves_figure(errors: pd.DataFrame, titles: Mapping[str, str], amount: str) -> Figure:
  """Returns the means over seeds and the range of all seeds, a panel for each data set.

  Args:
    errors: as of `errors_of_sweep`; methods are drawn in their order there.
    titles: title of the panel of each data set.
    amount: what the data are counted in, such as 'training images'.
  """
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, WIDTH * 0.45)
    for axes, (data, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
      for method, marker in zip(errors["method"].unique(), itertools.cycle(MARKERS)):
        chosen = errors[(errors["method"] == method) & (errors["data"] == data)]
        found = 100 * chosen.groupby("amount")["error"].agg(["mean", "min", "max"])
        apart = [found["mean"] - found["min"], found["max"] - found["mean"]]
        axes.errorbar(found.index, found["mean"], apart, marker=marker, capsize=2, label=method)
      axes.set(xscale="log", yscale="log", title=title)
      amounts = sorted(errors["amount"].unique())
      axes.set_xticks(amounts, map(str, amounts))
      axes.set_xticks([], minor=True)
      axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 4, 5, 6, 8)))
      axes.yaxis.set_major_formatter("{x:g}")
      axes.yaxis.set_minor_formatter(NullFormatter())
      axes.set(xlabel=amount, ylabel="test error (%)")
    axes.legend()
  return figure
