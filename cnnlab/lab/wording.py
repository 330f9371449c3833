"""How numbers are written for people: metrics with their names and units, counts, durations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from cnnlab import metrics

if TYPE_CHECKING:
  from cnnlab.lab.verdicts import Verdict


class ShownMetric(NamedTuple):
  """How a metric is shown: its name, its unit (empty for none) and the factor into that unit."""

  name: str
  unit: str
  factor: float

  @property
  def label(self) -> str:
    """Name and unit, for an axis or a column's head."""
    return f"{self.name} ({self.unit})" if self.unit else self.name

  @property
  def difference_unit(self) -> str:
    """The unit of a difference: percentages differ by points."""
    return "points" if self.unit == "%" else self.unit


def describe_metric(name: str, declared: Iterable[metrics.Metric] = ()) -> ShownMetric:
  """Returns how a metric such as `eval/error` is shown: `test error (%)`.

  Args:
    name: as in metrics.jsonl; `eval/iou/road` is the metric `iou` of the class `road`.
    declared: metrics of the task that it belongs to.
  """
  found = metrics.find(name, declared)
  split, _, rest = name.partition("/")
  prefix = f"{metrics.SPLITS.get(split, split)} " if rest else ""
  one_class = rest.partition("/")[2]
  suffix = f" of {one_class}" if one_class else ""
  return ShownMetric(prefix + (found.label or found.name) + suffix, found.unit, found.factor)


def inequality(left: str, relation: str, right: str, margin: float, metric: ShownMetric) -> str:
  """Returns a claim as a formula: `all_cnn <= base + 0.5 points`."""
  if not margin:
    return f"{left} {relation} {right}"
  unit = f" {metric.difference_unit}" if metric.difference_unit else ""
  amount = f"{abs(margin) * metric.factor:g}"
  return f"{left} {relation} {right} {'+' if margin > 0 else '−'} {amount}{unit}"


def verdict_cells(found: Verdict, declared: Iterable[metrics.Metric] = ()) -> dict[str, str]:
  """Returns a claim and its verdict as a report shows them; `declared` are the task's metrics."""
  claim = found.claim
  metric = describe_metric(claim.metric, declared)
  exact = math.isnan(found.interval_level)
  low, high = (found.difference if exact else end for end in (found.low, found.high))
  show = count if abs(found.difference) > 1e4 else number
  difference = show(found.difference * metric.factor)
  if not exact and not math.isnan(low):
    difference += f" ({number(low * metric.factor)} to {number(high * metric.factor)})"
  return {
    "verdict": found.verdict,
    "text": claim.text,
    "formula": inequality(claim.left, claim.relation, claim.right, claim.margin, metric),
    "metric": metric.name,
    "source": claim.source,
    "difference": difference,
    "unit": metric.difference_unit,
    "level": "" if exact else f"{100 * found.interval_level:.4g} %",
    "p_value": probability(found.p_corrected),
    "effect": number(found.effect),
    "pairs": str(found.pairs),
    "more": seeds(found.more_seeds),
    "note": found.note,
  }


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
  """Returns a number with a fixed count of decimals, `–` where there is none."""
  if value is None or math.isnan(value):
    return "–"
  return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def with_interval(mean: float, low: float, high: float, digits: int = 2, sign: bool = False) -> str:
  """Returns `mean ± half width`; the mean alone where there is no interval, `–` without a mean."""
  if math.isnan(mean) or math.isnan(low):
    return number(mean, digits, sign)
  return f"{number(mean, digits, sign)} ± {number((high - low) / 2, digits)}"


def probability(value: float | None) -> str:
  """Returns a p-value with two leading digits, `< 0.001` below that."""
  if value is None or math.isnan(value):
    return "–"
  return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def count(value: float | None) -> str:
  """Returns a whole number with thousands marks up to 99,999, then as k, M, G, T."""
  if value is None or math.isnan(value):
    return "–"
  if abs(value) < 1e5:
    return f"{value:,.0f}"
  for suffix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
    if abs(value) >= size:
      return (
        f"{value / size:.3g} {suffix}"
        if abs(value) < 100 * size
        else f"{value / size:.0f} {suffix}"
      )
  return str(value)


def size(value: float | None) -> str:
  """Returns a number of bytes as `12.3 MB` or `1.40 GB`."""
  if value is None or math.isnan(value):
    return "–"
  return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def seeds(more: float) -> str:
  """Returns how many more seeds a claim needs, in words short enough for a cell."""
  if more == 0:
    return "none"
  return "over 1,000" if math.isinf(more) else f"about {more:,.0f}"


def duration(seconds: float | None) -> str:
  """Returns `12.3 s`, `4 min 05 s` or `2 h 03 min`."""
  if seconds is None or math.isnan(seconds):
    return "–"
  if seconds < 100:
    return f"{seconds:.1f} s"
  minutes = round(seconds / 60)
  if seconds < 6000:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
  return f"{minutes // 60} h {minutes % 60:02d} min"


def markdown_cell(text: object) -> str:
  """Returns text that cannot break out of a Markdown table's cell, or turn into HTML."""
  folded = " ".join(str(text).split())
  for mark in "\\`*_[]|":
    folded = folded.replace(mark, "\\" + mark)
  return folded.replace("&", "&amp;").replace("<", "&lt;")
