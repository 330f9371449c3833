"""Means, intervals and paired differences over seeds, with SciPy; excluded runs are counted.

With the same seed, all variants see the same batches and start from the same weights where shapes
agree. Variants are therefore compared seed by seed: the interval of the differences is narrower
than the intervals of the two variants suggest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


class Estimate(NamedTuple):
  """A mean over seeds with its t interval.

  Attributes:
    size: number of seeds.
    mean, low, high: in the unit of the values; NaN if there are too few seeds.
    p_value: two-sided, for a mean of zero (a paired t test if the values are differences).
    deviation: sample standard deviation.
  """

  size: int
  mean: float
  low: float
  high: float
  p_value: float
  deviation: float

  @property
  def half_width(self) -> float:
    """Half the width of the interval: the x in mean ± x."""
    return (self.high - self.low) / 2


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
  """Returns the mean of independent values with its t interval and test against zero."""
  array = np.asarray(values, dtype=float)
  count = len(array)
  if count == 0:
    return Estimate(0, *[math.nan] * 5)
  mean = float(array.mean())
  if count == 1:
    return Estimate(1, mean, *[math.nan] * 4)
  if np.ptp(array) <= 1e-12 * np.abs(array).max():
    # No spread except rounding, so SciPy would divide by zero. If all differences are zero, the
    # variants are the same run; any other constant value says nothing about random variation.
    p_value, edge = (1.0, mean) if mean == 0 else (math.nan, math.nan)
    return Estimate(count, mean, edge, edge, p_value, 0.0)
  test = stats.ttest_1samp(array, 0.0)
  interval = test.confidence_interval(level)
  spread = float(array.std(ddof=1))
  return Estimate(
    count, mean, float(interval.low), float(interval.high), float(test.pvalue), spread
  )


def paired(values: pd.Series, base: pd.Series, level: float = LEVEL) -> Estimate:
  """Returns the estimate of `values - base` over the seeds (the index) present in both."""
  differences = (values.dropna() - base.dropna()).dropna()
  return estimate(differences.to_list(), level)


def summarize(runs: pd.DataFrame, base: str, level: float = LEVEL) -> pd.DataFrame:
  """Returns one row per variant, in the order of the runs.

  Args:
    runs: the table of `results.collect`.
    base: the variant that the others are compared with.
    level: confidence level of the intervals.

  Returns:
    Columns: `variant`, `asked` (number of runs), `done`, `trouble` (such as
    `1 diverged, 1 missing`; empty if all runs are done), `mean`, `low`, `high`, `deviation`,
    `difference` from the base over `pairs` seeds, `difference_low`, `difference_high`, `p_value`,
    `parameters`, `multiply_adds`, `seconds`, `ms_per_step` (means over the runs that are done) and
    `peak_memory` (the maximum).
  """
  values = {label: by_seed(part) for label, part in runs.groupby("variant", sort=False)}
  rows = []
  for label, part in runs.groupby("variant", sort=False):
    own = estimate(values[label].to_list(), level)
    row = {"variant": label, "asked": len(part), "done": int((part["status"] == "done").sum())}
    row |= {"trouble": _trouble(part), "mean": own.mean, "low": own.low, "high": own.high}
    row |= {"deviation": own.deviation}
    if label != base and base in values:
      row |= _difference(paired(values[label], values[base], level))
    done = part[part["status"] == "done"]
    for name in ("parameters", "multiply_adds", "seconds", "ms_per_step"):
      source = done if len(done) else part
      row[name] = pd.to_numeric(source[name], errors="coerce").mean()
    row["peak_memory"] = pd.to_numeric(part["peak_memory"], errors="coerce").max()
    rows.append(row)
  columns = (
    "variant", "asked", "done", "trouble", "mean", "low", "high", "deviation", "difference",
    "difference_low", "difference_high", "p_value", "pairs", "parameters", "multiply_adds",
    "seconds", "ms_per_step", "peak_memory",
  )  # fmt: skip
  return pd.DataFrame(rows, columns=list(columns))


def by_seed(part: pd.DataFrame, metric: str = "value") -> pd.Series:
  """Returns a metric of one variant's finished runs by seed; runs without a value are left out."""
  done = part[part["status"] == "done"].set_index("seed")
  values = done[metric] if metric in done else pd.Series(dtype=float)
  return pd.to_numeric(values, errors="coerce").dropna()


def _difference(found: Estimate) -> dict[str, float]:
  return {
    "difference": found.mean,
    "difference_low": found.low,
    "difference_high": found.high,
    "p_value": found.p_value,
    "pairs": found.size,
  }


def _trouble(part: pd.DataFrame) -> str:
  states = part.loc[part["status"] != "done", "status"].value_counts()
  unmeasured = int(((part["status"] == "done") & part["value"].isna()).sum())
  shown = [f"{count} {state}" for state, count in states.items()]
  return ", ".join(shown + ([f"{unmeasured} without the metric"] if unmeasured else []))
