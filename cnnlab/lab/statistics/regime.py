"""Whether runs are in the regime that a claim is about; outside it they say nothing on the claim."""

from __future__ import annotations

import math

import pandas as pd

from cnnlab.lab.claim import EXACT, Claim, Condition
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import wording
from cnnlab.lab.statistics.summary import by_seed


def why_not_tested(claim: Claim, experiment: Experiment, runs: pd.DataFrame) -> list[str]:
  """Returns why the runs cannot test a claim; empty if they can.

  Args:
    claim: with its metric filled in. What is exact, such as a number of parameters, is the same in
      every regime.
    experiment: its regime.
    runs: the table of `results.collect`.
  """
  reasons = []
  conditions = conditions_of(claim, experiment)
  if conditions or claim.equal:
    done = set(runs.loc[runs["status"] == "done", "variant"])
    absent = [label for label in dict.fromkeys(_sides(claim)) if label not in done]
    if absent:
      return [f"no finished run of {' or '.join(absent)}"]
  for label, condition in conditions:
    found = mean_of(runs, label, condition.metric, experiment)
    if not condition.met_by(found):
      shown = wording.describe_metric(condition.metric or experiment.metric, experiment.declared)
      required = _value(condition.value, shown)
      reasons.append(
        f"outside the regime ({condition.text}): {shown.name} of {label} is "
        f"{_value(found, shown)}, required: {condition.relation} {required}"
      )
  if claim.equal:
    left, right = (mean_of(runs, side, claim.equal, experiment) for side in _sides(claim))
    # An unknown cost compares as false.
    if not abs(left - right) <= claim.tolerance * max(left, right):
      shown = wording.describe_metric(claim.equal, experiment.declared)
      reasons.append(
        f"not at equal {shown.name} (within {100 * claim.tolerance:g} %): {claim.left} "
        f"{_value(left, shown)}, {claim.right} {_value(right, shown)}"
      )
  return reasons


def conditions_of(claim: Claim, experiment: Experiment) -> list[tuple[str, Condition]]:
  """Returns (variant, condition) for each condition that a side of a claim must meet."""
  if claim.metric in EXACT:
    return []
  return [
    (label, condition)
    for condition in experiment.regime
    for label in _sides(claim)
    if condition.concerns(label)
  ]


def mean_of(runs: pd.DataFrame, label: str, metric: str, experiment: Experiment) -> float:
  """Returns a measure's mean over a variant's finished runs; NaN if there is none."""
  column = "value" if metric in ("", experiment.metric) else metric
  return float(by_seed(runs[runs["variant"] == label], column).mean())


def _sides(claim: Claim) -> tuple[str, str]:
  return claim.left, claim.right


def _value(value: float, shown: wording.ShownMetric) -> str:
  if math.isnan(value):
    return "unknown"
  number = wording.count(value) if abs(value) >= 1e4 else f"{value * shown.factor:.4g}"
  return f"{number} {shown.unit}".rstrip()
