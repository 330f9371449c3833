"""Text for readers: metrics with names and units, counts, durations, meanings of statuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cnnlab import metrics
from cnnlab.lab.claim import Measure
from cnnlab.runs.table import declared_metrics, evaluated_part, flat_config

Row = Mapping[Hashable, Any]  # of a table, from `DataFrame.to_dict("records")`

# What the statuses of a run mean, other than the self-explanatory `done` and `running`.
STATUSES = {
  "absent": "not started yet",
  "missing": "never started",
  "queued": "waiting for a worker",
  "interrupted": "stopped before the end; the same command resumes it",
  "failed": "ended by an error; the same command tries it again",
  "diverged": "the loss or a gradient became infinite or NaN; it is not tried again",
  "dead": "its process ended without recording a status; the same command resumes it",
  "damaged": "its files cannot be read, or rows are missing",
  "other config": "its directory holds a run with another config, which is left alone",
}


class ShownMetric(NamedTuple):
  """How a metric is shown: name, unit (empty for none), and the factor that converts to it."""

  name: str
  unit: str
  factor: float

  @property
  def label(self) -> str:
    """Name and unit, for the label of an axis or the heading of a column."""
    return f"{self.name} ({self.unit})" if self.unit else self.name

  @property
  def difference_unit(self) -> str:
    """The unit of a difference; for percentages, points."""
    return "points" if self.unit == "%" else self.unit


def describe_metric(
  name: str, declared: Iterable[metrics.Metric] = (), evaluated: str = metrics.SPLITS["eval"]
) -> ShownMetric:
  """Returns how a metric such as `eval/error` is shown: `test error (%)`.

  Args:
    name: as in metrics.jsonl; `eval/iou/road` is the metric `iou` of the class `road`. Or a measure
      of the curve, as in claims: `eval/error@step=500` is the `test error after 500 steps`.
    declared: metrics of its task.
    evaluated: what `eval/` metrics are of, as `cnnlab.runs.table.evaluated_part` says.

  Raises:
    ConfigError: what follows an `@` cannot be read.
  """
  measure = Measure.parse(name)
  found = metrics.find(measure.metric, declared)
  split, _, rest = measure.metric.partition("/")
  parts = metrics.SPLITS | {"eval": evaluated}
  prefix = f"{parts.get(split, split)} " if rest else ""
  one_class = rest.partition("/")[2]
  suffix = f" of {one_class}" if one_class else ""
  place = {
    "step": f" after {measure.value:g} steps",
    "seconds": f" after {measure.value:g} s",
    "area": ", mean over training",
  }.get(measure.at, "")
  label = prefix + (found.label or found.name) + suffix + place
  return ShownMetric(label, found.unit, found.factor)


def describe_metrics_of(directory: Path) -> Callable[[str], ShownMetric]:
  """Returns a function that takes a metric's name and returns how that metric of a run is shown.

  Raises:
    RunError: config.json is missing or damaged.
  """
  declared, evaluated = declared_metrics(directory), evaluated_part(flat_config(directory))
  return partial(describe_metric, declared=declared, evaluated=evaluated)


def inequality(
  left: str, relation: str, right: str, margin: float, metric: ShownMetric, times: float = 1.0
) -> str:
  """Returns a claim as a formula: `all_cnn <= base + 0.5 points`, `a == b ± 1 points`.

  Args:
    left, relation, right, margin, times: fields of the claim; `times` is its `factor`.
    metric: of the claim.
  """
  other = right if times == 1 else f"{times:.3g} x {right}"
  if not margin:
    return f"{left} {relation} {other}"
  unit = f" {metric.difference_unit}" if metric.difference_unit else ""
  sign = "±" if relation == "==" else "+" if margin > 0 else "−"
  return f"{left} {relation} {other} {sign} {abs(margin) * metric.factor:g}{unit}"


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
  """Returns a number with a fixed number of decimals, or `–` if there is none."""
  if value is None or math.isnan(value):
    return "–"
  return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def decimals(size: float) -> int:
  """Returns how many decimals show two digits of a size: 2 to 6; 2 for none (0 or NaN)."""
  return min(6, 1 - math.floor(math.log10(size))) if 0 < size < 0.1 else 2


def with_interval(mean: float, low: float, high: float, digits: int = 2, sign: bool = False) -> str:
  """Returns `mean ± half width`; only the mean without an interval, `–` without a mean."""
  if math.isnan(mean) or math.isnan(low):
    return number(mean, digits, sign)
  return f"{number(mean, digits, sign)} ± {number((high - low) / 2, digits)}"


def probability(value: float | None) -> str:
  """Returns a p-value with two or three decimals, `< 0.001` below that."""
  if value is None or math.isnan(value):
    return "–"
  return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def data_name(name: str) -> str:
  """Returns the name of a data set without the folders of an absolute path.

  A report may be published, and `go:/home/me/games.tsv` says no more than `go:games.tsv` there.
  """
  kind, colon, rest = name.partition(":")
  absolute = Path(rest).is_absolute() or rest.startswith("~")
  return f"{kind}{colon}{Path(rest).name}" if absolute else name


def count(value: float | None) -> str:
  """Returns a whole number, with commas up to 99,999 and with k, M, G or T from there on."""
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
  """Returns how many more seeds a claim needs, short enough for a table cell."""
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


def explain_statuses(statuses: Iterable[str]) -> str:
  """Returns what the given statuses mean, each once; empty if all are self-explanatory."""
  given = set(statuses)
  return ". ".join(f"{name}: {text}" for name, text in STATUSES.items() if name in given)


def markdown_cell(text: object) -> str:
  """Returns text escaped for a cell of a Markdown table; it cannot be read as markup or HTML."""
  folded = " ".join(str(text).split())
  for mark in "\\`*_[]|":
    folded = folded.replace(mark, "\\" + mark)
  return folded.replace("&", "&amp;").replace("<", "&lt;")
