"""Learning curves: a metric of the training batches beside the same one of the test set, by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.lab.claim import COSTS, Measure
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import wording
from cnnlab.lab.report.limits import typical
from cnnlab.lab.report.looks import OKABE_ITO, Look, looks
from cnnlab.plot_style import STYLE, WIDTH, note, page, ticks_of_decades

SPLITS = ("train", "eval")
FEW_POINTS = 12  # up to which each point of a curve gets a marker
_A_PANEL = 6  # variants per panel if there are more than colors
_MAX_POINTS = 100  # of a curve; in longer curves, each point is the mean of several logged ones


class Curve(NamedTuple):
  """The `Run.metrics` of a run, and whether the run finished."""

  metrics: pd.DataFrame
  whole: bool


def pairs(experiment: Experiment) -> dict[str, list[str]]:
  """Returns {name: metrics drawn side by side}: of the experiment, its claims, its regime, the loss.

  `error` stands for `train/error` and `eval/error`; a metric without a split stands for itself.
  """
  named = [experiment.metric, *(c.metric for c in experiment.claims)]
  named += [condition.metric for condition in experiment.regime]
  found: dict[str, list[str]] = {}
  for text in (*named, "train/loss"):
    metric = Measure.parse(text).metric
    split, _, leaf = metric.partition("/")
    if not metric or metric in COSTS or metric in ("value", "trainset"):
      continue
    of_a_split = split in (*SPLITS, "trainset") and leaf
    name = leaf if of_a_split else metric
    found[name] = [f"{part}/{leaf}" for part in SPLITS] if of_a_split else [metric]
  return found


def learning_curves(
  experiment: Experiment, curves: Mapping[str, Sequence[Curve]], metrics: Sequence[str]
) -> Figure | None:
  """Returns plots of metrics by epoch, side by side: for each variant the mean and range over seeds.

  Each unfinished run is drawn as a dotted line of its own, with a cross at the last point. Many
  variants are distributed over several rows, each with the base.

  Args:
    experiment: the experiment; it determines the order of the variants.
    curves: the runs of each variant.
    metrics: columns of `Run.metrics`; those that no run has logged twice are left out.

  Returns:
    The figure, or None if no run has logged any.
  """
  every_run = [curve.metrics for runs in curves.values() for curve in runs]
  logged = [m for m in metrics if any(m in one and one[m].count() > 1 for one in every_run)]
  every = looks(list(experiment.variants))
  labels = [x for x in every if any(m in c.metrics for c in curves.get(x, ()) for m in logged)]
  if not labels:
    return None
  parts = _parts(labels, experiment.base)
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, max(3.6, 2.6 * len(parts)))
    grid = figure.subplots(len(parts), len(logged), sharex=True, sharey="col", squeeze=False)
    notes = ["Line: mean over seeds. Band: lowest to highest seed."]
    for column, metric in zip(grid.T, logged, strict=True):
      shown = wording.describe_metric(metric, experiment.declared)
      for axes, part in zip(column, parts, strict=True):
        for label in part:
          _curve(axes, label, curves.get(label, ()), metric, every[label], shown.factor)
        axes.set_ylabel(shown.label)
      column[0].set_title(f"{shown.name[0].upper()}{shown.name[1:]}")
      column[-1].set_xlabel("training time (epochs)")
      notes += _limit(column)
    for axes in grid[:, -1]:
      _legend(axes, grid[list(grid[:, -1]).index(axes)])
    if any(not c.whole for runs in curves.values() for c in runs):
      notes.append("Dotted, ending in a cross: a run that did not finish.")
    note(figure, " ".join(dict.fromkeys(notes)))
  return figure


def _parts(labels: Sequence[str], base: str) -> list[list[str]]:
  """Returns the variants of each row of panels; a single row if there are enough colors."""
  if len(labels) <= len(OKABE_ITO):
    return [list(labels)]
  parts = [list(labels[i : i + _A_PANEL]) for i in range(0, len(labels), _A_PANEL)]
  return [part if base in part or base not in labels else [base, *part] for part in parts]


def _curve(
  axes: Axes, label: str, runs: Sequence[Curve], metric: str, look: Look, factor: float
) -> None:
  whole = _across_seeds([c.metrics for c in runs if c.whole], metric, factor)
  if whole is not None:
    marker = look.marker if len(whole) <= FEW_POINTS else ""
    axes.plot(
      whole.index, whole["mean"], look.line, color=look.color, label=label, lw=1.5, marker=marker,
      ms=4,
    )  # fmt: skip
    band = (whole.index, whole["low"], whole["high"])
    axes.fill_between(*band, color=look.color, alpha=0.16, lw=0)
  for part in (c.metrics for c in runs if not c.whole):
    line = _across_seeds([part], metric, factor)
    if line is not None:
      axes.plot(line.index, line["mean"], ":", color=look.color, lw=1, label=f"_{label}")
      axes.plot(line.index[-1:], line["mean"].iloc[-1:], "x", color=look.color, ms=6)


def _across_seeds(
  tables: Sequence[pd.DataFrame], metric: str, factor: float
) -> pd.DataFrame | None:
  """Returns mean, low and high over the seeds at each epoch that any of them logged."""
  columns = []
  for table in tables:
    if metric not in table:
      continue
    logged = table[np.isfinite(pd.to_numeric(table[metric], errors="coerce"))]
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


def _limit(panels: Iterable[Axes]) -> list[str]:
  """Limits the axis of some panels to what finished, typical runs reach; returns notes on the rest.

  Falling curves that span more than a decade get a logarithmic axis; a few high first values are
  cut off if they would flatten the rest.
  """
  panels = list(panels)
  every = {line: _points(line.get_xydata()) for axes in panels for line in axes.lines}
  whole = {line: p for line, p in every.items() if not str(line.get_label()).startswith("_")}
  shown = {line: p for line, p in (whole or every).items() if len(p)}
  if not shown:
    return []
  end = max(points[:, 0].max() for points in shown.values())
  later = {line: p[p[:, 0] > 0.1 * end, 1] for line, p in shown.items()}
  later = {line: values for line, values in later.items() if len(values)}
  reach = [values[len(values) // 2 :].max() for values in later.values()]
  kept = [line for line, good in zip(later, typical(reach), strict=True) if good]
  if not kept:
    return []
  left_out = dict.fromkeys(str(line.get_label()) for line in later if line not in kept)
  lowest, top = min(later[x].min() for x in kept), max(later[x].max() for x in kept)
  highest = max(points[:, 1].max() for points in every.values() if len(points))
  notes = [f"{label} lies outside the plotted range." for label in left_out]
  if lowest > 0 and top > 12 * lowest:
    for axes in panels:
      axes.set_yscale("log")
      ticks_of_decades(axes.yaxis)
    if left_out or highest > 100 * top:
      panels[0].set_ylim(lowest / 1.3, top * 1.6)
    return notes
  if highest < top + 0.5 * (top - lowest) and not left_out:
    return []
  margin = 0.08 * ((top - lowest) or abs(top) or 1.0)
  panels[0].set_ylim(lowest - margin, top + margin)
  early = any(len(p) and p[:, 1].max() > top + margin for x, p in whole.items() if x in kept)
  notes += ["The first steps of some curves are above the plotted range."] if early else []
  lost = any(len(p) and p[:, 1].max() > top + margin for x, p in every.items() if x not in whole)
  return notes + (["Runs that did not finish leave the plotted range."] if lost else [])


def _points(data: object) -> np.ndarray:
  points = np.asarray(data, dtype=float).reshape(-1, 2)
  return points[np.isfinite(points).all(axis=1)]


def _legend(axes: Axes, row: Sequence[Axes]) -> None:
  """Puts the legend of a row of panels at the right of the last."""
  named: dict[str, Artist] = {}
  for panel in row:
    handles, labels = panel.get_legend_handles_labels()
    named |= dict(zip(labels, handles, strict=True))
  if named:
    size = 8 if len(named) <= 12 else 6.5
    at = (1.0, 1.0)
    axes.legend(
      list(named.values()), list(named), loc="upper left", bbox_to_anchor=at, fontsize=size
    )
