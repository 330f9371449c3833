"""Means, intervals and differences of a sweep's variants; excluded runs are counted.

With the same seed, all variants see the same batches and start from the same weights where shapes
agree. Variants are therefore compared seed by seed, unless the experiment says otherwise. Where the
runs kept the result on each test example, intervals are over seeds and images; see
`cnnlab.lab.statistics.crossed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from cnnlab.lab.statistics.crossed import LEVEL, Estimate, Sample, difference
from cnnlab.lab.statistics.crossed import estimate as estimate_sum

__all__ = ["LEVEL", "Estimate", "by_seed", "estimate", "paired", "sample", "summarize"]

Examples = Mapping[str, pd.DataFrame]  # of `cnnlab.lab.examples.load`
COSTS = ("parameters", "multiply_adds", "seconds", "ms_per_step")
COLUMNS = (
  "variant", "asked", "done", "trouble", "mean", "low", "high", "deviation", "over", "difference",
  "difference_low", "difference_high", "p_value", "pairs", "trainset", "gap", "test_examples",
  *COSTS, "peak_memory",
)  # fmt: skip


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
  """Returns the mean of independent values with its t interval and test against zero."""
  return estimate_sum([Sample(pd.Series(list(values), dtype=float))], level)


def paired(values: pd.Series, base: pd.Series, level: float = LEVEL) -> Estimate:
  """Returns the estimate of `values - base` over the seeds (the index) present in both."""
  return difference(Sample(values.dropna()), Sample(base.dropna()), level=level)


def summarize(
  runs: pd.DataFrame,
  base: str,
  level: float = LEVEL,
  examples: Examples | None = None,
  pairing: str = "seeds",
) -> pd.DataFrame:
  """Returns one row per variant, in the order of the runs; runs that confirm claims are left out.

  Args:
    runs: the table of `results.collect`.
    base: the variant that the others are compared with.
    level: confidence level of the intervals.
    examples: the metric of each test example, of `examples.load`; None for t intervals over seeds.
    pairing: as of `Experiment.pairing`.

  Returns:
    Columns: `variant`, `asked` (number of runs), `done`, `trouble` (such as
    `1 diverged, 1 missing`; empty if all runs are done), `mean`, `low`, `high`, `deviation` over
    seeds, `over` (`seeds and images` or `seeds`: what the intervals are over), `difference` from
    the base over `pairs` seeds, `difference_low`, `difference_high`, `p_value`; `trainset` (mean of
    the metric on the training set), `gap` (mean of the metric - `trainset`), `test_examples`;
    `parameters`, `multiply_adds`, `seconds`, `ms_per_step` (means over the runs that are done) and
    `peak_memory` (the maximum).
  """
  if "confirms" in runs:
    runs = runs[~runs["confirms"].astype(bool)]
  parts = {str(label): part for label, part in runs.groupby("variant", sort=False)}
  samples = {label: sample(part, examples) for label, part in parts.items()}
  rows = []
  for label, part in parts.items():
    row = {"variant": label, "asked": len(part), "done": int((part["status"] == "done").sum())}
    own = estimate_sum([samples[label]], level)
    row |= {"trouble": _trouble(part), "mean": own.mean, "low": own.low, "high": own.high}
    row |= {"deviation": own.deviation, "over": own.over}
    if label != base and base in samples:
      found = difference(samples[label], samples[base], paired=pairing == "seeds", level=level)
      row |= _difference(found)
    row |= _fit(part) | _costs(part)
    known = samples[label].examples
    row["test_examples"] = math.nan if known is None else known.shape[1]
    rows.append(row)
  return pd.DataFrame(rows, columns=list(COLUMNS))


def by_seed(part: pd.DataFrame, metric: str = "value") -> pd.Series:
  """Returns a metric of one variant's finished runs by seed; runs without a value are left out."""
  done = part[part["status"] == "done"].set_index("seed")
  values = done[metric] if metric in done else pd.Series(dtype=float)
  return pd.to_numeric(values, errors="coerce").dropna()


def sample(part: pd.DataFrame, examples: Examples | None = None, metric: str = "value") -> Sample:
  """Returns the finished runs of one variant; with the results of their examples, if all have them.

  Args:
    part: the rows of one variant.
    examples: of `examples.load`; they belong to the metric `value` alone.
    metric: a column.
  """
  values = by_seed(part, metric)
  known = None
  if examples and metric == "value" and len(values):
    known = examples.get(str(part["variant"].iloc[0]))
  if known is not None:
    known = known.loc[values.index] if values.index.isin(known.index).all() else None
  return Sample(values, known)


def _fit(part: pd.DataFrame) -> dict[str, float]:
  """Returns the means of the metric on the training set, and of its distance from there."""
  on_training_set = by_seed(part, "trainset")
  return {
    "trainset": on_training_set.mean(),
    "gap": (by_seed(part) - on_training_set).mean(),
  }


def _costs(part: pd.DataFrame) -> dict[str, float]:
  done = part[part["status"] == "done"]
  source = done if len(done) else part
  row = {name: pd.to_numeric(source[name], errors="coerce").mean() for name in COSTS}
  return row | {"peak_memory": pd.to_numeric(part["peak_memory"], errors="coerce").max()}


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
