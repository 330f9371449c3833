"""The report's figures: learning curves with bands, error bars, paired differences, accuracy against cost.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; beyond eight
variants line style and marker differ as well. Figures are drawn without any display.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from cnnlab.lab import wording
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.statistics import estimate
from cnnlab.plot_style import STYLE

OKABE_ITO = (
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#9A8A00",
)  # fmt: skip
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MAX_POINTS = 400  # of a curve: more than a page can show


class Look(NamedTuple):
  """How a variant is drawn, the same in every figure of a report."""

  colour: str
  line: str
  marker: str


class Curve(NamedTuple):
  """A run's `Run.metrics`, and whether it came to its end."""

  metrics: pd.DataFrame
  whole: bool


def looks(labels: Sequence[str]) -> dict[str, Look]:
  """Returns how each variant is drawn."""
  many = len(OKABE_ITO)
  return {
    label: Look(OKABE_ITO[i % many], _LINES[i // many % 4], _MARKERS[(i + i // many) % 8])
    for i, label in enumerate(labels)
  }


def learning_curves(
  experiment: Experiment, curves: Mapping[str, Sequence[Curve]], metric: str
) -> Figure | None:
  """Returns a metric against epochs, a line a variant: mean over seeds, band from lowest to highest.

  Runs that did not come to their end are drawn one by one, dotted, with a cross at the last point.

  Args:
    experiment: gives the order of the variants.
    curves: the runs of each variant.
    metric: a column of their tables.

  Returns:
    The figure, None where no run has logged the metric.
  """
  shown = wording.describe_metric(metric)
  with matplotlib.rc_context(STYLE):
    figure, axes = _page(7.2, 3.9)
    for label, look in looks(list(experiment.variants)).items():
      runs = [c for c in curves.get(label, ()) if metric in c.metrics]
      whole = _across_seeds([c.metrics for c in runs if c.whole], metric, shown.factor)
      if whole is not None:
        axes.plot(whole.index, whole["mean"], look.line, color=look.colour, label=label, lw=1.5)
        band = (whole.index, whole["low"], whole["high"])
        axes.fill_between(*band, color=look.colour, alpha=0.16, lw=0)
      for part in (c.metrics for c in runs if not c.whole):
        line = _across_seeds([part], metric, shown.factor)
        if line is not None:
          axes.plot(line.index, line["mean"], ":", color=look.colour, lw=1)
          axes.plot(line.index[-1:], line["mean"].iloc[-1:], "x", color=look.colour, ms=6)
    if not axes.lines:
      return None
    axes.set_title(f"{shown.name[0].upper()}{shown.name[1:]} during training")
    axes.set_xlabel("training time (epochs)")
    axes.set_ylabel(shown.label)
    _spread_out(axes)
    _legend(axes)
    crosses = any(not c.whole for runs in curves.values() for c in runs)
    unfinished = " Dotted, ending in a cross: a run that did not finish." if crosses else ""
    _note(figure, f"Line: mean over seeds. Band: lowest to highest seed.{unfinished}")
  return figure


def error_bars(experiment: Experiment, runs: pd.DataFrame) -> Figure | None:
  """Returns each variant's mean with its 95 % interval, the single seeds, and the paper's figure.

  Args:
    experiment: gives the order, the metric and the paper's figures.
    runs: the table of `results.collect`.
  """
  shown = wording.describe_metric(experiment.metric)
  labels = list(experiment.variants)
  if runs["value"].notna().sum() == 0:
    return None
  with matplotlib.rc_context(STYLE):
    figure, axes = _rows(len(labels))
    for row, (label, look) in enumerate(looks(labels).items()):
      own = runs.loc[runs["variant"] == label, "value"].dropna().astype(float) * shown.factor
      _estimate_row(axes, row, own.to_list(), look)
      if label in experiment.paper:
        value = experiment.paper[label].value * shown.factor
        axes.plot(value, row, "D", ms=7, mfc="none", mec="black", mew=1.2, zorder=4, label="paper")
    axes.set_xlabel(shown.label)
    axes.set_title(f"{shown.name[0].upper()}{shown.name[1:]} by variant")
    _name_rows(axes, labels)
    paper = " Diamond: the paper's figure." if experiment.paper else ""
    _note(figure, f"Bar: mean and 95 % t interval over seeds. Small dots: single seeds.{paper}")
  return figure


def differences(experiment: Experiment, runs: pd.DataFrame) -> Figure | None:
  """Returns each variant's differences to the base, seed by seed, with mean and 95 % interval."""
  shown = wording.describe_metric(experiment.metric)
  values = runs.pivot_table(index="seed", columns="variant", values="value", aggfunc="first")
  labels = [x for x in experiment.variants if x != experiment.base]
  if experiment.base not in values or not any(label in values for label in labels):
    return None
  every = looks(list(experiment.variants))
  with matplotlib.rc_context(STYLE):
    figure, axes = _rows(len(labels))
    axes.axvline(0, color="black", lw=1)
    for row, label in enumerate(labels):
      if label in values:
        gaps = (values[label] - values[experiment.base]).dropna().astype(float) * shown.factor
        _estimate_row(axes, row, gaps.to_list(), every[label])
    unit = f" ({shown.difference_unit})" if shown.difference_unit else ""
    better = "left" if experiment.mode == "min" else "right"
    axes.set_xlabel(f"{shown.name} minus that of {experiment.base}, same seed{unit}")
    axes.set_title(f"Paired difference to {experiment.base}: further {better} is better")
    _name_rows(axes, labels)
    _note(figure, "Bar: mean and 95 % t interval of the differences. Small dots: single seeds.")
  return figure


def accuracy_against_cost(experiment: Experiment, summary: pd.DataFrame) -> Figure | None:
  """Returns the metric against multiply-adds and against parameters, with 95 % intervals.

  Args:
    experiment: gives the metric.
    summary: the table of `statistics.summarise`.
  """
  shown = wording.describe_metric(experiment.metric)
  known = summary[summary["mean"].notna()]
  costs = [c for c in ("multiply_adds", "parameters") if known[c].notna().any()]
  if not costs:
    return None
  every = looks(list(experiment.variants))
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(costs), sharey=True))
    for axes, cost in zip(panels, costs, strict=True):
      at = _side_by_side(known[cost].astype(float).to_numpy())
      for row, x in zip(known.to_dict("records"), at, strict=True):
        _cost_point(axes, row, x, every[str(row["variant"])], shown.factor)
      _cost_axis(axes, cost, known[cost])
    panels[0].set_ylabel(shown.label)
    panels[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]} against cost")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    _note(figure, "Bars: 95 % t interval over seeds. Variants of equal cost stand side by side.")
  return figure


def _page(width: float, height: float) -> tuple[Figure, Axes]:
  logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
  figure = Figure(figsize=(width, height), layout="constrained")
  return figure, figure.subplots()


def _rows(count: int) -> tuple[Figure, Axes]:
  return _page(7.2, 1.5 + 0.34 * count)


def _note(figure: Figure, text: str) -> None:
  figure.supxlabel(text, fontsize=7.5, color="#555555", x=0.01, ha="left")


def _estimate_row(axes: Axes, row: int, values: Sequence[float], look: Look) -> None:
  if not values:
    axes.text(0.5, row, "no finished run", transform=axes.get_yaxis_transform(), ha="center",
              va="center", fontsize=8, color="#555555")  # fmt: skip
    return
  found = estimate(values)
  # A jitter that depends on nothing but the order keeps equal seeds apart.
  heights = row + 0.22 + 0.05 * (np.arange(len(values)) % 3)
  axes.plot(values, heights, "o", ms=4, color=look.colour, alpha=0.6, mew=0)
  if not math.isnan(found.low):
    axes.plot([found.low, found.high], [row, row], color=look.colour, lw=2, solid_capstyle="butt")
    for edge in (found.low, found.high):
      axes.plot([edge, edge], [row - 0.1, row + 0.1], color=look.colour, lw=2)
  axes.plot(found.mean, row, look.marker, ms=7, color=look.colour, mec="white", mew=0.8, zorder=3)


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
  axes.set_yticks(range(len(labels)), labels)
  axes.set_ylim(len(labels) - 0.5, -0.5)
  axes.set_ylabel("variant")
  axes.grid(visible=False, axis="y")


def _side_by_side(costs: np.ndarray) -> np.ndarray:
  """Returns the costs, equal ones moved apart by a fraction of what the axis spans."""
  logarithmic = _spans_much(costs)
  at = np.log(costs) if logarithmic else costs.copy()
  gap = 0.035 * (np.nanmax(at) - np.nanmin(at) or abs(np.nanmax(at)) or 1.0)
  for value in np.unique(at[np.isfinite(at)]):
    equal = np.flatnonzero(at == value)
    at[equal] += gap * (np.arange(len(equal)) - (len(equal) - 1) / 2)
  return np.exp(at) if logarithmic else at


def _spans_much(costs: np.ndarray) -> bool:
  return bool(np.nanmax(costs) > 4 * np.nanmin(costs) > 0)


def _cost_point(axes: Axes, row: Mapping, x: float, look: Look, factor: float) -> None:
  if math.isnan(x):
    return
  low, mean, high = (row[name] * factor for name in ("low", "mean", "high"))
  if not math.isnan(low):
    axes.plot([x, x], [low, high], color=look.colour, lw=1.5)
  axes.plot(x, mean, look.marker, ms=7, color=look.colour, mec="white", label=row["variant"])


def _cost_axis(axes: Axes, cost: str, values: pd.Series) -> None:
  if _spans_much(values.to_numpy(float)):
    axes.set_xscale("log")
    few = values.max() < 100 * values.min()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_minor_formatter("")
  else:
    axes.locator_params(axis="x", nbins=5)
  axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
  axes.margins(x=0.12)
  axes.set_xlabel({"multiply_adds": "multiply-adds per image", "parameters": "parameters"}[cost])


def _across_seeds(
  tables: Sequence[pd.DataFrame], metric: str, factor: float
) -> pd.DataFrame | None:
  """Returns mean, low and high over the seeds at each epoch that any of them logged."""
  columns = []
  for table in tables:
    logged = table.dropna(subset=[metric])
    where = logged["epoch"] if "epoch" in logged else logged["step"]
    columns.append(pd.Series(logged[metric].to_numpy(float) * factor, index=where.to_numpy(float)))
  columns = [c[~c.index.duplicated(keep="last")] for c in columns if len(c)]
  if not columns:
    return None
  joined = pd.concat(columns, axis=1).sort_index()
  # Counted from the end, so that a thinned curve still ends where the training did.
  joined = joined.iloc[:: -max(1, len(joined) // _MAX_POINTS)][::-1]
  bands = {"mean": joined.mean(axis=1), "low": joined.min(axis=1), "high": joined.max(axis=1)}
  return pd.DataFrame(bands)


def _spread_out(axes: Axes) -> None:
  """Takes a logarithmic scale where the values of a falling curve span more than a decade."""
  heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
  heights = heights[np.isfinite(heights)]
  if len(heights) and heights.min() > 0 and heights.max() > 12 * heights.min():
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def _legend(axes: Axes) -> None:
  if axes.get_legend_handles_labels()[1]:
    size = 8 if len(axes.lines) <= 12 else 6.5
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=size)
