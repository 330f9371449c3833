"""Verdicts in words: the rows of a report's table and the lines on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cnnlab.lab.claim import Claim
from cnnlab.lab.report import wording
from cnnlab.lab.report.tables import Cell, Table, columns
from cnnlab.lab.statistics.summary import LEVEL
from cnnlab.lab.statistics.verdicts import Verdict
from cnnlab.metrics import Metric

STOPPING = (
  "More seeds: how many would decide the claim with a probability of 80 %, if difference and spread "
  "stay the same; in brackets, if the true difference is one standard error farther from the margin "
  "or nearer to it. Fix the number beforehand and report whatever comes out; or add seeds with --until decided, which corrects for looking repeatedly; "
  "or test the claims, as they are now, on fresh seeds. Adding seeds until a verdict appears makes "
  "more wrong verdicts than the level says."
)


def short_formula(claim: Claim) -> str:
  """Returns a claim's relation without its margin: `all_cnn <= 0.5 x base`."""
  unused = wording.ShownMetric("", "", 1.0)
  return wording.inequality(claim.left, claim.relation, claim.right, 0.0, unused, claim.factor)


def formula(claim: Claim, declared: Iterable[Metric] = ()) -> str:
  """Returns a claim as a formula with its margin and metric."""
  metric = wording.describe_metric(claim.metric, declared)
  sides = (claim.left, claim.relation, claim.right, claim.margin)
  text = f"{wording.inequality(*sides, metric, claim.factor)} in {metric.name}"
  if claim.equal:
    equal = wording.describe_metric(claim.equal, declared).name
    text += f", at equal {equal} (within {100 * claim.tolerance:g} %)"
  return text


def interval_text(difference: float, low: float, high: float, *, sign: bool = False) -> str:
  """Returns `4.12 (−0.13 to 8.38)`, in as many digits as the numbers need; with `sign`, `+4.12`."""
  exact = low == high and float(difference).is_integer()  # a count, of parameters say
  if exact or abs(difference) >= 1e4:
    plus = "+" if sign and difference > 0 else ""
    return plus + wording.count(difference).replace("-", "−")
  largest = max((abs(x) for x in (difference, low, high) if math.isfinite(x)), default=1.0)
  digits = wording.decimals(largest)
  text = wording.number(difference, digits, sign)
  if not (math.isfinite(low) and math.isfinite(high)) or low == high:
    return text
  return f"{text} ({wording.number(low, digits)} to {wording.number(high, digits)})"


def measured(found: Verdict, declared: Iterable[Metric] = ()) -> str:
  """Returns the difference of a claim's sides with its 95 % interval and its unit."""
  metric = wording.describe_metric(found.claim.metric, declared)
  unit = metric.difference_unit and f" {metric.difference_unit}"
  if math.isnan(found.difference):
    return "–"
  return (
    interval_text(*(x * metric.factor for x in (found.difference, found.low, found.high))) + unit
  )


def more_seeds(found: Verdict) -> str:
  """Returns how many more seeds a claim needs, and what they would probably show."""
  if found.verdict in ("holds", "fails"):
    return "none"
  if found.verdict == "not tested":
    return "–"
  if math.isnan(found.more_seeds) or not found.toward:
    return "unknown"
  low, high = (_seeds(x) for x in (found.more_low, found.more_high))
  most = wording.seeds(found.more_seeds)
  reach = "" if math.isnan(found.more_low) else f" ({low} to {high})" if low != high else ""
  return f"{most}{reach} more would probably show that it {found.toward}"


def _seeds(value: float) -> str:
  return "over 1,000" if math.isinf(value) else "?" if math.isnan(value) else f"{value:,.0f}"


def verdict_table(verdicts: Sequence[Verdict], declared: Iterable[Metric] = ()) -> Table:
  """Returns one row per claim, numbered as in the plot of the claims.

  Args:
    verdicts: of `verdicts.judge`.
    declared: metrics of the task.
  """
  headings = ("claim", "difference (95 % interval)", "corrected p", "seeds", "more seeds")
  table = Table(columns("verdict", *headings, words=("claim", "more seeds")))
  for number, found in enumerate(verdicts, start=1):
    claim = found.claim
    told = "; ".join(x for x in (claim.source, found.note) if x)
    table.add(
      Cell(found.verdict, style="verdict"),
      Cell(f"{number}. {claim.text}", note=told, code=formula(claim, declared), style="wide"),
      Cell(measured(found, declared), note=uncertainty(found)),
      wording.probability(found.p_corrected),
      seeds_used(found),
      more_seeds(found),
    )
  return table


def uncertainty(found: Verdict) -> str:
  """Returns over what a claim's interval is, its level if unusual, and what pairing brought."""
  if not found.over:
    return ""
  parts = [f"over {found.over}"]
  if abs(found.interval_level - LEVEL) > 1e-9:
    parts.append(f"at {100 * found.interval_level:.4g} %")
  if not math.isnan(found.correlation):
    parts.append(f"correlation over seeds {wording.number(found.correlation)}")
  if not math.isnan(found.pairing_gain):
    parts.append(f"pairing: standard error x {wording.number(found.pairing_gain)}")
  return ", ".join(parts)


def seeds_used(found: Verdict) -> str:
  """Returns the number of seeds, of both sides if they differ."""
  left, right = found.left_seeds, found.right_seeds
  return str(left) if left == right else f"{left} and {right}"


def lines(found: Verdict, declared: Iterable[Metric] = ()) -> list[str]:
  """Returns a verdict in lines for a terminal: the claim, the numbers, what to know of them."""
  numbers = f"{formula(found.claim, declared)}: {measured(found, declared)}"
  if not math.isnan(found.p_corrected):
    numbers += f", p {wording.probability(found.p_corrected)}"
  numbers += f", {seeds_used(found)} seeds"
  if found.over:
    numbers += f", over {found.over}"
  more = more_seeds(found)
  if found.verdict == "inconclusive":
    numbers += f"; {more if more != 'unknown' else 'how many more would decide it is unknown'}"
  return [found.claim.text, numbers, *([found.note] if found.note else [])]
