"""The figures of a report: learning curves, error bars, paired differences, and accuracy by cost.

Colors are those of Okabe and Ito, which color-blind readers can distinguish. With more than eight
variants, line styles and markers differ as well. No display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from cnnlab.lab import wording
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.statistics import estimate
from cnnlab.plot_style import (
  BLACK,
  BLUE,
  GREEN,
  ORANGE,
  PURPLE,
  SKY,
  STYLE,
  VERMILION,
  note,
  page,
  ticks_of_decades,
)

OKABE_ITO = (
  BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, "#9A8A00",
)  # fmt: skip
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_A_PANEL = 6  # lines per panel if there are more variants than colors
_MAX_POINTS = 100  # of a curve; in longer curves, each point is the mean of several logged ones


class Look(NamedTuple):
  """How a variant is drawn in every figure of a report."""

  color: str
  line: str
  marker: str


class Curve(NamedTuple):
  """The `Run.metrics` of a run, and whether the run finished."""

  metrics: pd.DataFrame
  whole: bool


def looks(labels: Sequence[str]) -> dict[str, Look]:
  """Returns {label: how the variant is drawn}."""
  many = len(OKABE_ITO)
  return {
    label: Look(OKABE_ITO[i % many], _LINES[i // many % 4], _MARKERS[(i + i // many) % 8])
    for i, label in enumerate(labels)
  }


def learning_curves(
  experiment: Experiment, curves: Mapping[str, Sequence[Curve]], metric: str
) -> Figure | None:
  """Returns a plot of a metric by epoch: for each variant the mean and the range over seeds.

  Each unfinished run is drawn as a dotted line of its own, with a cross at the last point. Many
  variants are distributed over several panels, each with the base.

  Args:
    experiment: the experiment; it determines the order of the variants.
    curves: the runs of each variant.
    metric: a column of `Run.metrics`.

  Returns:
    The figure, or None if no run has logged the metric.
  """
  shown = wording.describe_metric(metric, experiment.declared)
  every = looks(list(experiment.variants))
  logged = {label: [c for c in curves.get(label, ()) if metric in c.metrics] for label in every}
  if not any(logged.values()):
    return None
  parts = _parts([label for label in every if logged[label]], experiment.base)
  with matplotlib.rc_context(STYLE):
    figure = page(7.2, max(3.9, 2.5 * len(parts)))
    panels = figure.subplots(len(parts), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, part in zip(panels, parts, strict=True):
      for label in part:
        _curve(axes, label, logged[label], metric, every[label], shown.factor)
      axes.set_ylabel(shown.label)
      _legend(axes)
    panels[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]} during training")
    panels[-1].set_xlabel("training time (epochs)")
    crosses = any(not c.whole for runs in curves.values() for c in runs)
    notes = ["Line: mean over seeds. Band: lowest to highest seed."]
    notes += ["Dotted, ending in a cross: a run that did not finish."] if crosses else []
    notes += (
      ["The first steps of some curves are above the plotted range."] if _spread_out(panels) else []
    )
    note(figure, " ".join(notes))
  return figure


def _parts(labels: Sequence[str], base: str) -> list[list[str]]:
  """Returns the variants of each panel; a single panel if there are enough colors."""
  if len(labels) <= len(OKABE_ITO):
    return [list(labels)]
  parts = [list(labels[i : i + _A_PANEL]) for i in range(0, len(labels), _A_PANEL)]
  return [part if base in part or base not in labels else [base, *part] for part in parts]


def _curve(
  axes: Axes, label: str, runs: Sequence[Curve], metric: str, look: Look, factor: float
) -> None:
  whole = _across_seeds([c.metrics for c in runs if c.whole], metric, factor)
  if whole is not None:
    axes.plot(whole.index, whole["mean"], look.line, color=look.color, label=label, lw=1.5)
    band = (whole.index, whole["low"], whole["high"])
    axes.fill_between(*band, color=look.color, alpha=0.16, lw=0)
  for part in (c.metrics for c in runs if not c.whole):
    line = _across_seeds([part], metric, factor)
    if line is not None:
      axes.plot(line.index, line["mean"], ":", color=look.color, lw=1)
      axes.plot(line.index[-1:], line["mean"].iloc[-1:], "x", color=look.color, ms=6)


def error_bars(experiment: Experiment, runs: pd.DataFrame) -> Figure | None:
  """Returns a plot of each variant's mean with 95 % interval, its seeds, and the paper's figure.

  Args:
    experiment: the experiment; it determines the order, the metric and the paper's figures.
    runs: the table of `results.collect`.

  Returns:
    The figure, or None if no run is done.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
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
    note(figure, f"Bar: mean and 95 % t interval over seeds. Small dots: individual seeds.{paper}")
  return figure


def differences(experiment: Experiment, runs: pd.DataFrame) -> Figure | None:
  """Returns a plot of each variant's differences from the base by seed, with 95 % intervals.

  Args:
    experiment: the experiment; it determines the order, the metric and the base.
    runs: the table of `results.collect`.

  Returns:
    The figure, or None if there are no runs to compare.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
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
    better = "left" if experiment.better(experiment.metric) == "min" else "right"
    axes.set_xlabel(f"{shown.name} minus that of {experiment.base}, same seed{unit}")
    axes.set_title(f"Paired difference from {experiment.base}: further {better} is better")
    _name_rows(axes, labels)
    note(figure, "Bar: mean and 95 % t interval of the differences. Small dots: individual seeds.")
  return figure


def accuracy_against_cost(experiment: Experiment, summary: pd.DataFrame) -> Figure | None:
  """Returns plots of the metric by multiply-adds and by parameters, with 95 % intervals.

  Args:
    experiment: the experiment; it determines the metric.
    summary: the table of `statistics.summarize`.

  Returns:
    The figure, or None if no cost is known.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
  known = summary[summary["mean"].notna()]
  costs = [c for c in ("multiply_adds", "parameters") if known[c].notna().any()]
  if not costs:
    return None
  every = looks(list(experiment.variants))
  with matplotlib.rc_context(STYLE):
    figure = page(7.2, 3.6)
    panels = np.atleast_1d(figure.subplots(1, len(costs), sharey=True))
    for axes, cost in zip(panels, costs, strict=True):
      at = _side_by_side(known[cost].astype(float).to_numpy())
      for row, x in zip(known.to_dict("records"), at, strict=True):
        _cost_point(axes, row, x, every[str(row["variant"])], shown.factor)
      _cost_axis(axes, cost, known[cost])
    panels[0].set_ylabel(shown.label)
    panels[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]} by cost")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8 if len(names) < 14 else 6)
    note(
      figure,
      "Bars: 95 % t interval over seeds. Variants of equal cost (within 2 %) are moved apart.",
    )
  return figure


def _rows(count: int) -> tuple[Figure, Axes]:
  figure = page(7.2, 1.5 + 0.34 * count)
  return figure, figure.subplots()


def _estimate_row(axes: Axes, row: int, values: Sequence[float], look: Look) -> None:
  if not values:
    axes.text(0.5, row, "no finished run", transform=axes.get_yaxis_transform(), ha="center",
              va="center", fontsize=8, color="#555555")  # fmt: skip
    return
  found = estimate(values)
  # A shift that depends only on the order keeps equal values apart.
  heights = row + 0.22 + 0.05 * (np.arange(len(values)) % 3)
  axes.plot(values, heights, "o", ms=4, color=look.color, alpha=0.6, mew=0)
  if not math.isnan(found.low):
    axes.plot([found.low, found.high], [row, row], color=look.color, lw=2, solid_capstyle="butt")
    for edge in (found.low, found.high):
      axes.plot([edge, edge], [row - 0.1, row + 0.1], color=look.color, lw=2)
  axes.plot(found.mean, row, look.marker, ms=7, color=look.color, mec="white", mew=0.8, zorder=3)


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
  axes.set_yticks(range(len(labels)), labels)
  axes.set_ylim(len(labels) - 0.5, -0.5)
  axes.set_ylabel("variant")
  axes.grid(visible=False, axis="y")


def _side_by_side(costs: np.ndarray) -> np.ndarray:
  """Returns the costs, with nearly equal ones moved apart by a fraction of the axis."""
  logarithmic = _spans_much(costs)
  at = np.log(costs) if logarithmic else costs.copy()
  groups = _equal(costs)
  middles = sorted(at[group].mean() for group in groups)
  room = min(np.diff(middles), default=np.inf) / max(map(len, groups), default=1)
  gap = min(0.035 * (np.ptp(middles) or abs(middles[0]) or 1.0), 0.8 * room) if groups else 0.0
  for group in groups:
    at[group] = at[group].mean() + gap * (np.arange(len(group)) - (len(group) - 1) / 2)
  return np.exp(at) if logarithmic else at


def _equal(costs: np.ndarray) -> list[np.ndarray]:
  """Returns the indices of each group of costs that differ by at most 2 %."""
  groups: list[list[int]] = []
  for index in np.argsort(costs, kind="stable"):
    if groups and costs[index] <= 1.02 * costs[groups[-1][0]]:
      groups[-1].append(int(index))
    elif np.isfinite(costs[index]):
      groups.append([int(index)])
  return [np.sort(group) for group in groups]


def _spans_much(costs: np.ndarray) -> bool:
  return bool(np.nanmax(costs) > 4 * np.nanmin(costs) > 0)


def _cost_point(axes: Axes, row: wording.Row, x: float, look: Look, factor: float) -> None:
  if math.isnan(x):
    return
  low, mean, high = (row[name] * factor for name in ("low", "mean", "high"))
  if not math.isnan(low):
    axes.plot([x, x], [low, high], color=look.color, lw=1.5)
  axes.plot(x, mean, look.marker, ms=7, color=look.color, mec="white", label=row["variant"])


def _cost_axis(axes: Axes, cost: str, values: pd.Series) -> None:
  if len(_equal(values.to_numpy(float))) == 1:
    axes.set_xticks([values.mean()], [wording.count(values.mean())])
  elif _spans_much(values.to_numpy(float)):
    axes.set_xscale("log")
    few = values.max() < 100 * values.min()
    ticks_of_decades(axes.xaxis, (1, 2, 5) if few else (1,))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
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
  # Windows are counted from the end, so that the last point is at the end of training.
  window = -(-len(joined) // _MAX_POINTS)
  which = (np.arange(len(joined)) - len(joined)) // window
  last = joined.index.to_series().groupby(which).last()
  joined = joined.groupby(which).mean().set_index(last)
  bands = {"mean": joined.mean(axis=1), "low": joined.min(axis=1), "high": joined.max(axis=1)}
  return pd.DataFrame(bands)


def _spread_out(panels: Iterable[Axes]) -> bool:
  """Limits the axis if a few high first values would flatten the rest; returns whether it did.

  Falling curves that span more than a decade get a logarithmic axis instead.
  """
  panels = list(panels)
  lines = [line for axes in panels for line in axes.lines]
  if not lines:
    return False
  points = np.concatenate([np.asarray(line.get_xydata(), dtype=float) for line in lines])
  points = points[np.isfinite(points).all(axis=1)]
  later = points[points[:, 0] > 0.1 * points[:, 0].max(initial=0), 1] if len(points) else points
  if not len(later) or points[:, 1].min() <= 0:
    return False
  lowest, highest, top = later.min(), points[:, 1].max(), later.max()
  if top > 12 * lowest:
    for axes in panels:
      axes.set_yscale("log")
      ticks_of_decades(axes.yaxis)
    return False
  if top == lowest or highest < top + 0.5 * (top - lowest):
    return False
  margin = 0.08 * (top - lowest)
  panels[0].set_ylim(lowest - margin, top + margin)
  return True


def _legend(axes: Axes) -> None:
  if axes.get_legend_handles_labels()[1]:
    size = 8 if len(axes.lines) <= 12 else 6.5
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=size)
