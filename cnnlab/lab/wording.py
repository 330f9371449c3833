"""How numbers are written for people: metrics with their names and units, counts, durations."""

from __future__ import annotations

import math
from typing import NamedTuple


class Metric(NamedTuple):
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


_FRACTIONS = {"error": "error", "top1": "top-1 accuracy", "top5": "top-5 accuracy", "miou": "mIoU"}
_PLAIN = {
  "cross_entropy": ("cross-entropy", "nats"),
  "loss": ("loss", ""),
  "grad_norm": ("gradient norm", ""),
}
_SPLITS = {"eval": "test", "train": "training"}


def describe_metric(name: str) -> Metric:
  """Returns how a metric such as `eval/error` is shown: `test error (%)`."""
  split, _, leaf = name.rpartition("/")
  prefix = f"{_SPLITS.get(split, split)} " if split else ""
  if leaf in _FRACTIONS:
    return Metric(prefix + _FRACTIONS[leaf], "%", 100.0)
  shown, unit = _PLAIN.get(leaf, (leaf.replace("_", " "), ""))
  return Metric(prefix + shown, unit, 1.0)


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
