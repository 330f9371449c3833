"""The learning curves of a single run."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.lab.report import wording
from cnnlab.metrics import Metric
from cnnlab.plot_style import BLUE, STYLE, VERMILION, WIDTH, page, ticks_of_decades

_SPLITS = {"train": ("training batches", BLUE, "-"), "eval": ("evaluation", VERMILION, "-")}
_FEW_POINTS = 30  # up to which each point of a curve gets a marker


def curves(logged: pd.DataFrame, main: str, declared: Sequence[Metric]) -> Figure | None:
  """Returns plots of the task's main metrics and the loss by epoch; None if nothing was logged.

  Args:
    logged: `Run.metrics`.
    main: name of the metric that is drawn first.
    declared: the metrics of the run's task.
  """
  named = [main, *(m.name for m in declared if not m.per_class)]
  leaves = [leaf for leaf in dict.fromkeys(named) if f"eval/{leaf}" in logged][:2]
  panels = [leaf for leaf in (*leaves, "loss") if any(f"{s}/{leaf}" in logged for s in _SPLITS)]
  if not panels or "epoch" not in logged:
    return None
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, 3.0)
    for axes, leaf in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
      _panel(axes, logged, leaf, declared)
  return figure


def _panel(axes: Axes, logged: pd.DataFrame, leaf: str, declared: Sequence[Metric]) -> None:
  metric = wording.describe_metric(leaf, declared)
  drawn = []
  for split, (label, color, line) in _SPLITS.items():
    column = f"{split}/{leaf}"
    if column not in logged:
      continue
    values = pd.to_numeric(logged[column], errors="coerce").to_numpy(float) * metric.factor
    good = np.isfinite(values)
    drawn.append(values[good])
    marker = "." if good.sum() <= _FEW_POINTS else ""
    axes.plot(logged["epoch"][good], values[good], line, marker=marker, color=color, label=label,
              lw=1.3)  # fmt: skip
  every = np.concatenate(drawn)
  if len(every) and every.min() > 0 and every.max() > 12 * every.min():
    axes.set_yscale("log")
    ticks_of_decades(axes.yaxis)
  axes.set_title(f"{metric.name[0].upper()}{metric.name[1:]}")
  axes.set_ylabel(metric.label)
  axes.set_xlabel("training time (epochs)")
  axes.legend(fontsize=8)
