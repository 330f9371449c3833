"""The verdict on each claim: holds, fails, inconclusive, or not tested.

How a claim is read off an interval is described in `cnnlab.lab.statistics.decision`.

Where the runs kept the result on each test example, intervals are over seeds and images
(`cnnlab.lab.statistics.crossed`); otherwise, and for every measure but the experiment's metric at the end, they
are t intervals over seeds. Seeds are paired unless the experiment says `pairing='none'`.

All claims of an experiment are corrected together (`cnnlab.lab.statistics.multiplicity`) and for looking
repeatedly (`cnnlab.lab.statistics.sequential`): a claim is decided if its corrected p-value is at most
1 - level, and the probability that any of its verdicts is wrong is at most that. The interval shown
is a plain one of its own claim; so it may exclude the margin of a claim that the correction leaves
inconclusive. Parameters and multiply-adds are exact and need no test.

Runs outside the experiment's regime, or of unequal cost where a claim asks for an equal one, do not
test it (`cnnlab.lab.statistics.regime`). Claims that are not tested count in the correction all the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from cnnlab.lab.claim import EXACT, Claim, Measure
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.statistics.crossed import LEVEL, Estimate, Pairing, Sample, difference, pairing
from cnnlab.lab.statistics.decision import FAILS, HOLDS, direction, edge, p_value
from cnnlab.lab.statistics.multiplicity import Corrected, correct
from cnnlab.lab.statistics.power import more_seeds
from cnnlab.lab.statistics.regime import why_not_tested
from cnnlab.lab.statistics.sequential import alpha_at
from cnnlab.lab.statistics.summary import Examples, sample

INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"


class Verdict(NamedTuple):
  """A claim and the verdict of the runs on it.

  Attributes:
    claim: the experiment's claim, with its metric filled in.
    verdict: `holds`, `fails`, `inconclusive` or `not tested`.
    note: further information, such as runs excluded from the test; may be empty.
    pairs: number of seeds that both sides have finished; if not paired, the smaller side's.
    left_seeds, right_seeds: number of seeds of each side in the test.
    difference, low, high: left - factor x right and its interval, in the metric's unit; NaN if
      unknown.
    interval_level: level of (low, high), uncorrected for other claims; NaN if there was no test.
    p_value: two-sided, for a difference of the (nearer) margin, uncorrected.
    p_corrected: for all contrasts and looks; NaN if the claim was not tested.
    effect: difference / its standard deviation over seeds (Cohen's d).
    more_seeds: how many more seeds would decide the claim with probability `power.POWER`, if
      difference and spread stay the same; 0 if it is decided, infinite if no realistic number
      would do, NaN if nothing can be known.
    more_low, more_high: the same, should the true difference be one standard error farther from the
      margin or nearer to it.
    toward: `holds` or `fails`, what these seeds would show; empty if nothing can be known.
    over: `seeds and images` or `seeds`: what the interval is over; empty if there was no test.
    correlation: of both sides over seeds; NaN below three pairs.
    pairing_gain: standard error of the paired / of the unpaired comparison: below 1, pairing helped.
  """

  claim: Claim
  verdict: str
  note: str
  pairs: int
  left_seeds: int = 0
  right_seeds: int = 0
  difference: float = math.nan
  low: float = math.nan
  high: float = math.nan
  interval_level: float = math.nan
  p_value: float = math.nan
  p_corrected: float = math.nan
  effect: float = math.nan
  more_seeds: float = math.nan
  more_low: float = math.nan
  more_high: float = math.nan
  toward: str = ""
  over: str = ""
  correlation: float = math.nan
  pairing_gain: float = math.nan


class _Sides(NamedTuple):
  """The runs of both sides of a claim, and what they say together."""

  left: Sample
  right: Sample
  found: Estimate
  pairing: Pairing
  paired: bool


def judge(
  experiment: Experiment,
  runs: pd.DataFrame,
  examples: Examples | None = None,
  level: float = LEVEL,
) -> list[Verdict]:
  """Returns the verdict on each claim of an experiment, in the order of the claims.

  Seeds of `experiment.confirmed_by` are left out. Diverged runs are excluded from the test, but a
  verdict in favor of their variant becomes inconclusive.

  Args:
    experiment: the experiment with the claims. If `looks` is not 0, this is the look of that number.
    runs: the table of `results.collect`.
    examples: its metric on each test example, of `examples.load`; None for intervals over seeds.
    level: confidence level for all claims (and looks) together.
  """
  return _judge(experiment, runs[~runs["seed"].isin(experiment.confirmed_by)], examples, level)


def confirm(
  experiment: Experiment,
  runs: pd.DataFrame,
  examples: Examples | None = None,
  level: float = LEVEL,
) -> list[Verdict]:
  """Returns the verdicts of the seeds of `experiment.confirmed_by` alone; none without such seeds.

  They are fixed beforehand, so there is no correction for looks. Arguments as of `judge`.
  """
  if not experiment.confirmed_by:
    return []
  fresh = runs[runs["seed"].isin(experiment.confirmed_by)]
  return _judge(replace(experiment, looks=0), fresh, examples, level)


def _judge(
  experiment: Experiment, runs: pd.DataFrame, examples: Examples | None, level: float
) -> list[Verdict]:
  claims = [replace(c, metric=c.metric or experiment.metric) for c in experiment.claims]
  alpha = 1 - level
  now = alpha_at(experiment.looks, alpha)
  sides = [_sides(claim, experiment, runs, examples, 1 - now) for claim in claims]
  reasons = [why_not_tested(claim, experiment, runs) for claim in claims]
  tested = [i for i, claim in enumerate(claims) if claim.metric not in EXACT]
  p_values = [math.nan if reasons[i] else p_value(claims[i], sides[i].found) for i in tested]
  worth = correct([claims[i] for i in tested], p_values, now)
  corrections = dict(zip(tested, worth, strict=True))
  verdicts = []
  for index, claim in enumerate(claims):
    if index in corrections:
      found = _tested(claim, sides[index], corrections[index], alpha, now)
    else:
      found = _exact(claim, sides[index])
    if reasons[index]:
      found = _undecided(found, NOT_TESTED)._replace(note="; ".join(reasons[index]))
    verdicts.append(_with_trouble(found, runs, experiment))
  return verdicts


def _sides(
  claim: Claim,
  experiment: Experiment,
  runs: pd.DataFrame,
  examples: Examples | None,
  level: float,
) -> _Sides:
  column = "value" if claim.metric == experiment.metric else claim.metric
  left, right = (
    sample(runs[runs["variant"] == label], examples, column) for label in (claim.left, claim.right)
  )
  paired = experiment.pairing == "seeds" or claim.metric in EXACT
  found = difference(left, right, claim.factor, paired, level)
  return _Sides(left, right, found, pairing(left, right, claim.factor), paired)


def _measured(claim: Claim, sides: _Sides, level: float) -> Verdict:
  """Returns an inconclusive verdict with all that is measured, and nothing on its correction."""
  found = sides.found
  paired = found.size if sides.paired else None
  return Verdict(
    claim,
    INCONCLUSIVE,
    "",
    found.size,
    len(sides.left.values) if paired is None else paired,
    len(sides.right.values) if paired is None else paired,
    found.mean,
    found.low,
    found.high,
    interval_level=level,
    p_value=p_value(claim, found),
    effect=found.mean / found.deviation if found.deviation else math.nan,
    over=found.over,
    correlation=sides.pairing.correlation,
    pairing_gain=sides.pairing.gain,
  )


def _tested(claim: Claim, sides: _Sides, corrected: Corrected, alpha: float, now: float) -> Verdict:
  """Returns the verdict that the seeds allow.

  Args:
    claim, sides, corrected: the claim, its runs, and what its p-value is worth.
    alpha: probability of a wrong verdict at any look.
    now: at this look.
  """
  found, numbers = sides.found, _measured(claim, sides, 1 - now)
  p_corrected = float(np.minimum(1.0, corrected.p_value * (alpha / now)))
  numbers = numbers._replace(p_corrected=p_corrected)
  if found.size > 1 and not found.error:
    # An override without any effect is no evidence for "no loss".
    same = "both sides give the same values"
    return numbers._replace(note="no spread over seeds, so no test" if found.mean else same)
  toward = direction(claim, found.mean)
  if p_corrected <= alpha:
    return numbers._replace(verdict=toward, more_seeds=0.0, more_low=0.0, more_high=0.0)
  more = more_seeds(found, edge(claim, found.mean), now / corrected.share)
  toward = "" if math.isnan(more.more) else toward
  return numbers._replace(
    more_seeds=more.more, more_low=more.low, more_high=more.high, toward=toward
  )


def _exact(claim: Claim, sides: _Sides) -> Verdict:
  values = (sides.left.values - claim.factor * sides.right.values).dropna()
  if values.nunique() != 1:
    note = "it differs between runs of the same variant" if len(values) else ""
    return Verdict(claim, INCONCLUSIVE, note, len(values), len(values), len(values))
  value, seeds = float(values.iloc[0]), len(values)
  found = Verdict(claim, direction(claim, value), "exact, no test needed", seeds, seeds, seeds)
  found = found._replace(difference=value, low=value, high=value)
  return found._replace(more_seeds=0.0, more_low=0.0, more_high=0.0)


def _undecided(found: Verdict, verdict: str) -> Verdict:
  """Returns what was measured, with a verdict that more seeds would not change."""
  found = found._replace(verdict=verdict, toward="", more_seeds=math.nan)
  found = found._replace(more_low=math.nan, more_high=math.nan)
  return found._replace(p_corrected=math.nan) if verdict == NOT_TESTED else found


def _with_trouble(found: Verdict, runs: pd.DataFrame, experiment: Experiment) -> Verdict:
  """Returns the verdict with excluded runs in its note, inconclusive if they could change it."""
  claim, notes = found.claim, [found.note]
  # The sign of the change in d if a diverged run of the left side counted.
  worst = 1 if experiment.better(Measure.parse(claim.metric).metric) == "min" else -1
  against = False
  for side, sign in ((claim.left, worst), (claim.right, -worst)):
    states = runs.loc[runs["variant"] == side, "status"]
    counts = states[states != "done"].value_counts()
    if len(counts):
      notes.append(f"{side}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    if counts.get("diverged", 0):
      against |= direction(claim, sign * math.inf) != found.verdict
  if against and found.verdict in (HOLDS, FAILS) and claim.metric not in EXACT:
    notes.append(f"the verdict would be {found.verdict!r} without the diverged runs")
    found = _undecided(found, INCONCLUSIVE)
  return found._replace(note="; ".join(note for note in notes if note))
