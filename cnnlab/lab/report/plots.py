"""The figures of a report that compare variants: values with their intervals, differences, costs.

No display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import limits, wording
from cnnlab.lab.report.looks import Look, draw_interval, legend_beside, looks, name_rows
from cnnlab.plot_style import STYLE, WIDTH, note, page, ticks_of_decades

COSTS = {"multiply_adds": "multiply-adds per image", "parameters": "parameters"}


def error_bars(experiment: Experiment, runs: pd.DataFrame, summary: pd.DataFrame) -> Figure | None:
  """Returns a plot of each variant's mean with 95 % interval and seeds; beside it the training set's.

  Args:
    experiment: the experiment; it determines the order and the metric.
    runs: the table of `results.collect`.
    summary: the table of `statistics.summarize`.

  Returns:
    The figure, or None if no run is done.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
  known = summary.set_index("variant").reindex(list(experiment.variants))
  if known["mean"].notna().sum() == 0:
    return None
  trained = bool(known["trainset"].notna().any())
  with matplotlib.rc_context(STYLE):
    figure = _figure_of_rows(len(known))
    panels = figure.subplots(
      1, 1 + trained, sharey=True, squeeze=False, width_ratios=[2, 1][: 1 + trained]
    )[0]
    _estimates(panels[0], known, ("mean", "low", "high"), _by_variant(runs, "value"), experiment)
    panels[0].set_xlabel(shown.label)
    panels[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]} by variant")
    panels[0].set_ylabel("variant")
    if trained:
      own = known.assign(low=math.nan, high=math.nan)
      seeds = _by_variant(runs, "trainset")
      _estimates(panels[1], own, ("trainset", "low", "high"), seeds, experiment)
      same = wording.describe_metric(_of_trainset(experiment.metric), experiment.declared)
      panels[1].set_xlabel(same.label)
      panels[1].set_title("On the training set")
    name_rows(panels[0], list(known.index))
    note(figure, "Bar: mean and 95 % interval. Small dots: individual seeds.")
  return figure


def _of_trainset(metric: str) -> str:
  return f"trainset/{metric.partition('/')[2] or metric}"


def differences(experiment: Experiment, runs: pd.DataFrame, summary: pd.DataFrame) -> Figure | None:
  """Returns a plot of each variant's difference from the base, with 95 % intervals.

  Args:
    experiment: the experiment; it determines the order, the metric, the base and the pairing.
    runs: the table of `results.collect`.
    summary: the table of `statistics.summarize`.

  Returns:
    The figure, or None if there is nothing to compare.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
  labels = [x for x in experiment.variants if x != experiment.base]
  known = summary.set_index("variant").reindex(labels)
  if known["difference"].notna().sum() == 0:
    return None
  paired = experiment.pairing == "seeds"
  with matplotlib.rc_context(STYLE):
    figure = _figure_of_rows(len(labels))
    axes = figure.subplots()
    ends = ("difference", "difference_low", "difference_high")
    seeds = _differences_by_seed(runs, experiment) if paired else {}
    _estimates(axes, known, ends, seeds, experiment, include=[0.0])
    axes.axvline(0, color="black", lw=1, zorder=1)
    unit = f" ({shown.difference_unit})" if shown.difference_unit else ""
    same = ", same seed" if paired else ""
    better = "left" if experiment.better(experiment.metric) == "min" else "right"
    axes.set_xlabel(f"{shown.name} minus that of {experiment.base}{same}{unit}")
    axes.set_title(f"Difference from {experiment.base}: further {better} is better")
    axes.set_ylabel("variant")
    name_rows(axes, labels)
    dots = " Small dots: individual seeds." if paired else ""
    note(figure, f"Bar: mean and 95 % interval of the differences.{dots}")
  return figure


def accuracy_against_cost(experiment: Experiment, summary: pd.DataFrame) -> Figure | None:
  """Returns plots of the metric by multiply-adds and by parameters, where variants differ in them.

  Args:
    experiment: the experiment; it determines the metric.
    summary: the table of `statistics.summarize`.

  Returns:
    The figure, or None if no cost is known, or all variants cost the same within 2 %.
  """
  shown = wording.describe_metric(experiment.metric, experiment.declared)
  known = summary[summary["mean"].notna()]
  costs = [cost for cost in COSTS if len(_equal(known[cost].to_numpy(float))) > 1]
  if not costs:
    return None
  every = looks(list(experiment.variants))
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, 3.8)
    panels = np.atleast_1d(figure.subplots(1, len(costs), sharey=True))
    reach = limits.limits(*(known[end] * shown.factor for end in ("mean", "low", "high")))
    for axes, cost in zip(panels, costs, strict=True):
      at = _side_by_side(known[cost].astype(float).to_numpy())
      for row, x in zip(known.to_dict("records"), at, strict=True):
        _cost_point(axes, row, x, every[str(row["variant"])], shown.factor)
      axes.set_ylim(*(reach or (None, None)))
      _cost_axis(axes, cost, known[cost])
    panels[0].set_ylabel(shown.label)
    panels[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]} by cost")
    legend_beside(figure, panels[0])
    bottom, top = reach or (-math.inf, math.inf)
    outside = known[~(known["mean"] * shown.factor).between(bottom, top)]
    notes = [f"{x} lies outside the plotted range." for x in outside["variant"]]
    moved = any(len(_equal(known[c].to_numpy(float))) < known[c].notna().sum() for c in costs)
    notes += ["Variants of equal cost (within 2 %) are moved apart."] if moved else []
    note(figure, " ".join(["Bars: 95 % interval.", *notes]))
  return figure


def _figure_of_rows(count: int) -> Figure:
  return page(WIDTH, 1.5 + 0.36 * count)


def _by_variant(runs: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
  done = runs[runs["status"] == "done"]
  values = (
    pd.to_numeric(done[column], errors="coerce") if column in done else pd.Series(dtype=float)
  )
  return {
    str(label): part.dropna().to_numpy(float)
    for label, part in values.groupby(done["variant"], sort=False)
  }


def _differences_by_seed(runs: pd.DataFrame, experiment: Experiment) -> dict[str, np.ndarray]:
  done = runs[runs["status"] == "done"]
  values = done.pivot_table(index="seed", columns="variant", values="value", aggfunc="first")
  if experiment.base not in values:
    return {}
  apart = values.sub(values[experiment.base], axis=0)
  return {str(label): apart[label].dropna().to_numpy(float) for label in apart}


def _estimates(
  axes: Axes,
  table: pd.DataFrame,
  ends: tuple[str, str, str],
  seeds: dict[str, np.ndarray],
  experiment: Experiment,
  include: Sequence[float] = (),
) -> None:
  """Draws a row for each variant (the index): the mean, its interval, and the values of seeds."""
  factor = wording.describe_metric(experiment.metric, experiment.declared).factor
  mean, low, high = ((table[end] * factor).to_numpy(float) for end in ends)
  each = [seeds.get(str(label), np.empty(0)) * factor for label in table.index]
  lowest = [min([x, *own]) for x, own in zip(np.nan_to_num(low, nan=np.inf), each, strict=True)]
  highest = [max([x, *own]) for x, own in zip(np.nan_to_num(high, nan=-np.inf), each, strict=True)]
  found = limits.limits(mean, lowest, highest, include)
  axes.set_xlim(*(found or (0.0, 1.0)))
  every = looks(list(experiment.variants))
  for row, label in enumerate(table.index):
    look = every[str(label)]
    if math.isnan(mean[row]):
      axes.text(0.5, row, "no value", transform=axes.get_yaxis_transform(), ha="center",
                va="center", fontsize=8, color="#555555")  # fmt: skip
      continue
    # A shift that depends only on the order keeps equal values apart.
    heights = row + 0.22 + 0.05 * (np.arange(len(each[row])) % 3)
    axes.plot(each[row], heights, "o", ms=4, color=look.color, alpha=0.6, mew=0)
    draw_interval(axes, row, mean[row], (low[row], high[row]), look)


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
  axes.plot(x, mean, look.marker, ms=7, color=look.color, mew=0, label=row["variant"])


def _cost_axis(axes: Axes, cost: str, values: pd.Series) -> None:
  if _spans_much(values.to_numpy(float)):
    axes.set_xscale("log")
    few = values.max() < 100 * values.min()
    ticks_of_decades(axes.xaxis, (1, 2, 5) if few else (1,))
  else:
    axes.locator_params(axis="x", nbins=5)
  axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
  axes.margins(x=0.12)
  axes.set_xlabel(COSTS[cost])
