"""What a report says of each claim: holds, fails or inconclusive, by a paired t test over seeds.

A claim `left <= right + margin` is about the mean over seeds of d = left - right. It holds where
the whole interval of d lies at or below the margin, fails where all of it lies above, and is
inconclusive in between: with few seeds that is the usual answer, and the number of seeds that
would probably decide it is given. Margins make the two usual questions: a margin of 0 asks for
superiority, a margin above 0 for non-inferiority ("no worse than by so much").

The claims of one report are corrected together by Holm's procedure (Scandinavian Journal of
Statistics 6, 1979): the chance that any verdict but `inconclusive` is wrong is at most 1 - level.
The interval shown has the level at which the procedure decided that claim, so that it and the
verdict never contradict each other. Parameters and multiply-adds are exact and need no test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from cnnlab.lab.experiment import Claim, Experiment
from cnnlab.lab.statistics import LEVEL, by_seed, estimate

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive"
EXACT_METRICS = ("parameters", "multiply_adds")  # the same for every seed of a variant
POWER = 0.8  # chance of a decision that `more_seeds` aims at
MOST_SEEDS = 1000  # beyond this `more_seeds` is infinite: nobody would train them


class Verdict(NamedTuple):
  """A claim and what the runs say of it.

  Attributes:
    claim: as the experiment states it, with its metric filled in.
    verdict: `holds`, `fails` or `inconclusive`.
    note: what else must be known, such as runs that are not in the test; may be empty.
    pairs: seeds that both sides have finished.
    difference, low, high: of left - right in the metric's unit; NaN where nothing is known.
    interval_level: of (low, high), after Holm's correction; NaN where no test was made.
    p_value: two-sided, of left - right = margin, uncorrected; `p_corrected` after Holm.
    effect: Cohen's d of paired values: mean difference / its standard deviation over seeds.
    more_seeds: how many more would decide the claim with a chance of `POWER`, if difference and
      spread stay as they are; 0 where it is decided, infinite where it is not to be expected.
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
  """Returns a verdict for each claim of an experiment, in its order.

  A claim whose runs are missing still takes its share of the correction. Diverged runs are in no
  test, but a verdict that speaks for the variant which they belong to is withheld.

  Args:
    experiment: its claims are judged.
    runs: the table of `results.collect`.
    level: at which all claims together are decided.
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
  """Returns Holm's corrected p-values, and for each claim the interval level that it was decided at.

  Args:
    p_values: of all claims; NaN, where no test was possible, counts as 1.
    level: of all claims together.
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
      stopped_at = share  # nothing behind the first that is not significant can be
  return corrected, levels


def seeds_needed(shift: float, deviation: float, level: float, power: float = POWER) -> float:
  """Returns how many seeds a two-sided paired t test needs; infinite where over `MOST_SEEDS`.

  Args:
    shift: how far the true mean lies from the tested one.
    deviation: standard deviation over seeds.
    level: 1 - the chance of finding a shift where there is none.
    power: chance of finding this one.
  """
  if not deviation or not shift or math.isnan(shift) or math.isnan(deviation):
    return math.inf
  counts = np.arange(2, MOST_SEEDS + 1)
  quantile = stats.t.ppf(1 - (1 - level) / 2, counts - 1)
  found = stats.nct.sf(quantile, counts - 1, abs(shift) / deviation * np.sqrt(counts))
  enough = np.flatnonzero(found >= power)
  return float(counts[enough[0]]) if len(enough) else math.inf


def paired_differences(runs: pd.DataFrame, claim: Claim) -> pd.Series:
  """Returns left - right of a claim's metric by seed, over the seeds that both have finished."""
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
    # A knob without effect must not pass for "no loss".
    verdict = INCONCLUSIVE
    note = "no spread over seeds, so no test" if found.mean else "both give the same values"
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
    note = "the runs of a variant differ in it" if len(values) else ""
    return Verdict(claim, INCONCLUSIVE, note, len(differences))
  value = float(values[0])
  verdict = _read_off(claim, value, value)
  note = "exact, no test needed"
  return Verdict(
    claim, verdict, note, len(differences), value, low=value, high=value, more_seeds=0.0
  )


def _read_off(claim: Claim, low: float, high: float) -> str:
  """Returns the verdict that an interval of left - right gives; NaN compares as false."""
  margin = claim.margin
  holds, fails = {
    "<=": (high <= margin, low > margin),
    "<": (high < margin, low >= margin),
    ">=": (low >= margin, high < margin),
    ">": (low > margin, high <= margin),
  }[claim.relation]
  return HOLDS if holds else FAILS if fails else INCONCLUSIVE


def _with_trouble(found: Verdict, runs: pd.DataFrame, experiment: Experiment) -> Verdict:
  """Returns the verdict with the runs that are in no test named, withheld where they would turn it."""
  claim, notes = found.claim, [found.note]
  diverged = {}
  for side in (claim.left, claim.right):
    states = runs.loc[runs["variant"] == side, "status"]
    counts = states[states != "done"].value_counts()
    diverged[side] = bool(counts.get("diverged", 0))
    if len(counts):
      notes.append(f"{side}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
  worst = (
    1 if experiment.better(claim.metric) == "min" else -1
  )  # where a diverged run of the left side would move d
  shift = found.difference - claim.margin
  against = (diverged[claim.left] and shift * worst < 0) or (
    diverged[claim.right] and shift * worst > 0
  )
  if against and found.verdict != INCONCLUSIVE and claim.metric not in EXACT_METRICS:
    notes.append(f"it would be {found.verdict!r} if the diverged runs were left out")
    found = found._replace(verdict=INCONCLUSIVE, more_seeds=math.inf)
  return found._replace(note="; ".join(note for note in notes if note))


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
  """Returns one row a claim: the claim's fields, then the verdict's."""
  rows = [
    asdict(v.claim) | {k: x for k, x in v._asdict().items() if k != "claim"} for v in verdicts
  ]
  columns = [*(f.name for f in fields(Claim)), *(n for n in Verdict._fields if n != "claim")]
  return pd.DataFrame(rows, columns=columns)
