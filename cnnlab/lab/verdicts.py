"""The verdict on each claim: holds, fails or inconclusive, by a paired t test over seeds.

A claim `left <= right + margin` is about the mean of d = left - right over seeds. It holds if the
whole interval of d is at or below the margin, fails if the whole interval is above the margin, and
is inconclusive otherwise. With few seeds most claims are inconclusive; the verdict then gives the
number of seeds that would probably decide the claim. A margin of 0 tests superiority, and a margin
above 0 tests non-inferiority ("worse by no more than the margin").

Holm's procedure corrects all claims of a report together (Scandinavian Journal of Statistics 6,
1979): the probability that any verdict other than `inconclusive` is wrong is at most 1 - level.
The interval shown has the level at which the procedure decided that claim, so it never contradicts
the verdict. Parameters and multiply-adds are exact and need no test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from cnnlab.lab.claim import EXACT as EXACT_METRICS
from cnnlab.lab.claim import Claim
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.statistics import LEVEL, by_seed, estimate

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive"

POWER = 0.8  # probability of a decision with `more_seeds` more seeds
MOST_SEEDS = 1000  # if more are needed, `more_seeds` is infinite


class Verdict(NamedTuple):
  """A claim and the verdict of the runs on it.

  Attributes:
    claim: the experiment's claim, with its metric filled in.
    verdict: `holds`, `fails` or `inconclusive`.
    note: further information, such as runs excluded from the test; may be empty.
    pairs: number of seeds that both sides have finished.
    difference, low, high: left - right and its interval, in the metric's unit; NaN if unknown.
    interval_level: level of (low, high) after Holm's correction; NaN if there was no test.
    p_value: two-sided, for left - right = margin, uncorrected.
    p_corrected: the p-value after Holm's correction.
    effect: Cohen's d of paired values: mean difference / its standard deviation over seeds.
    more_seeds: how many more seeds would decide the claim with probability `POWER`, if difference
      and spread stay the same; 0 if it is decided, infinite if no realistic number would do.
  """

  claim: Claim
  verdict: str
  note: str
  pairs: int
  difference: float = math.nan
  low: float = math.nan
  high: float = math.nan
  interval_level: float = math.nan
  p_value: float = math.nan
  p_corrected: float = math.nan
  effect: float = math.nan
  more_seeds: float = math.inf


def judge(experiment: Experiment, runs: pd.DataFrame, level: float = LEVEL) -> list[Verdict]:
  """Returns the verdict on each claim of an experiment, in the order of the claims.

  A claim whose runs are missing still counts in the correction. Diverged runs are excluded from the
  test, but a verdict in favor of their variant becomes inconclusive.

  Args:
    experiment: the experiment with the claims.
    runs: the table of `results.collect`.
    level: confidence level for all claims together.
  """
  claims = [replace(c, metric=c.metric or experiment.metric) for c in experiment.claims]
  differences = [paired_differences(runs, claim) for claim in claims]
  tested = [i for i, claim in enumerate(claims) if claim.metric not in EXACT_METRICS]
  p_values = [_p_value(differences[i], claims[i].margin) for i in tested]
  corrected, levels = holm(p_values, level)
  verdicts = {
    index: _tested(claims[index], differences[index], *test)
    for index, *test in zip(tested, p_values, corrected, levels, strict=True)
  }
  return [
    _with_trouble(verdicts.get(i) or _exact(claim, differences[i]), runs, experiment)
    for i, claim in enumerate(claims)
  ]


def holm(p_values: Sequence[float], level: float = LEVEL) -> tuple[list[float], list[float]]:
  """Returns Holm's corrected p-values and the interval level at which each claim was decided.

  Args:
    p_values: p-values of all claims; NaN (no test was possible) counts as 1.
    level: confidence level for all claims together.
  """
  values = np.nan_to_num(np.asarray(p_values, dtype=float), nan=1.0)
  count = len(values)
  corrected, levels = [math.nan] * count, [math.nan] * count
  highest, stopped_at = 0.0, 0
  for rank, index in enumerate(np.argsort(values, kind="stable")):
    share = stopped_at or count - rank
    highest = min(1.0, max(highest, values[index] * (count - rank)))
    corrected[index] = math.nan if math.isnan(p_values[index]) else float(highest)
    levels[index] = 1 - (1 - level) / share
    if values[index] > (1 - level) / share:
      stopped_at = share  # after the first claim that is not significant, none is
  return corrected, levels


def seeds_needed(shift: float, deviation: float, level: float, power: float = POWER) -> float:
  """Returns how many seeds a two-sided paired t test needs; infinite if more than `MOST_SEEDS`.

  Args:
    shift: distance of the true mean from the tested mean.
    deviation: standard deviation over seeds.
    level: 1 - the probability of finding a shift when there is none.
    power: probability of finding this shift.
  """
  if not deviation or not shift or math.isnan(shift) or math.isnan(deviation):
    return math.inf
  counts = np.arange(2, MOST_SEEDS + 1)
  quantile = stats.t.ppf(1 - (1 - level) / 2, counts - 1)
  found = stats.nct.sf(quantile, counts - 1, abs(shift) / deviation * np.sqrt(counts))
  enough = np.flatnonzero(found >= power)
  return float(counts[enough[0]]) if len(enough) else math.inf


def paired_differences(runs: pd.DataFrame, claim: Claim) -> pd.Series:
  """Returns left - right of a claim's metric, by seed, for the seeds finished by both sides."""
  column = claim.metric if claim.metric in runs else "value"
  sides = (runs[runs["variant"] == side] for side in (claim.left, claim.right))
  left, right = (by_seed(side, column) for side in sides)
  return (left - right).dropna()


def _p_value(differences: pd.Series, margin: float) -> float:
  values = differences.to_list()
  if len(values) > 1 and estimate(values).deviation == 0:
    return math.nan
  return estimate([value - margin for value in values]).p_value


def _tested(
  claim: Claim, differences: pd.Series, p_value: float, corrected: float, level: float
) -> Verdict:
  found = estimate(differences.to_list(), level)
  verdict, note = _read_off(claim, found.low, found.high), ""
  if found.size > 1 and found.deviation == 0:
    # An override without any effect is no evidence for "no loss".
    verdict = INCONCLUSIVE
    note = "no spread over seeds, so no test" if found.mean else "both sides give the same values"
  more = 0.0
  if verdict == INCONCLUSIVE:
    needed = seeds_needed(found.mean - claim.margin, found.deviation, level)
    more = max(1.0, needed - found.size)
  return Verdict(
    claim,
    verdict,
    note,
    pairs=found.size,
    difference=found.mean,
    low=found.low,
    high=found.high,
    interval_level=level,
    p_value=p_value,
    p_corrected=corrected,
    effect=found.mean / found.deviation if found.deviation else math.nan,
    more_seeds=more,
  )


def _exact(claim: Claim, differences: pd.Series) -> Verdict:
  values = differences.unique()
  if len(values) != 1:
    note = "it differs between runs of the same variant" if len(values) else ""
    return Verdict(claim, INCONCLUSIVE, note, len(differences))
  value = float(values[0])
  verdict = _read_off(claim, value, value)
  note = "exact, no test needed"
  return Verdict(
    claim, verdict, note, len(differences), value, low=value, high=value, more_seeds=0.0
  )


def _read_off(claim: Claim, low: float, high: float) -> str:
  """Returns the verdict that follows from an interval of left - right; NaN compares as false."""
  margin = claim.margin
  holds, fails = {
    "<=": (high <= margin, low > margin),
    "<": (high < margin, low >= margin),
    ">=": (low >= margin, high < margin),
    ">": (low > margin, high <= margin),
  }[claim.relation]
  return HOLDS if holds else FAILS if fails else INCONCLUSIVE


def _with_trouble(found: Verdict, runs: pd.DataFrame, experiment: Experiment) -> Verdict:
  """Returns the verdict with excluded runs in its note, inconclusive if they could change it."""
  claim, notes = found.claim, [found.note]
  diverged = {}
  for side in (claim.left, claim.right):
    states = runs.loc[runs["variant"] == side, "status"]
    counts = states[states != "done"].value_counts()
    diverged[side] = bool(counts.get("diverged", 0))
    if len(counts):
      notes.append(f"{side}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
  # The sign of the change in d if a diverged run of the left side counted.
  worst = 1 if experiment.better(claim.metric) == "min" else -1
  shift = found.difference - claim.margin
  against = (diverged[claim.left] and shift * worst < 0) or (
    diverged[claim.right] and shift * worst > 0
  )
  if against and found.verdict != INCONCLUSIVE and claim.metric not in EXACT_METRICS:
    notes.append(f"the verdict would be {found.verdict!r} without the diverged runs")
    found = found._replace(verdict=INCONCLUSIVE, more_seeds=math.inf)
  return found._replace(note="; ".join(note for note in notes if note))


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
  """Returns one row per claim: the claim's fields, then the verdict's."""
  rows = [
    asdict(v.claim) | {k: x for k, x in v._asdict().items() if k != "claim"} for v in verdicts
  ]
  columns = [*(f.name for f in fields(Claim)), *(n for n in Verdict._fields if n != "claim")]
  return pd.DataFrame(rows, columns=columns)
