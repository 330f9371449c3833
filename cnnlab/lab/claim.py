"""What an experiment claims, and in which regime its claims can be tested at all."""

from __future__ import annotations

import fnmatch
import math
import re
from dataclasses import dataclass

from cnnlab.errors import ConfigError, unknown

RELATIONS = ("<=", "<", ">=", ">", "==")
# The same for every seed of a variant, so that a claim about them needs no test.
EXACT = ("parameters", "multiply_adds")
COSTS = (*EXACT, "ms_per_step", "seconds")
_AT = re.compile(r"(?P<metric>[^@]+)@(?P<at>area|(?P<axis>step|seconds)=(?P<value>[0-9.e+]+))")


@dataclass(frozen=True)
class Measure:
  """A number that is read off each run: what `Claim.metric` and `Condition.metric` spell.

  Attributes:
    metric: a name in metrics.jsonl, or one of `COSTS`.
    at: `end` (the last value), `step` or `seconds` (the last value up to there), or `area` (the
      mean height of the curve over steps, by the trapezoidal rule).
    value: the step, or the seconds of training.
  """

  metric: str
  at: str = "end"
  value: float = math.nan

  @classmethod
  def parse(cls, text: str) -> Measure:
    """Returns the measure that `eval/error`, `eval/error@step=500` or `train/loss@area` spells.

    Raises:
      ConfigError: what follows the `@` cannot be read.
    """
    if "@" not in text:
      return cls(text)
    found = _AT.fullmatch(text)
    if found is None:
      raise ConfigError(
        f"cannot read the metric {text!r}; allowed after the @: step=N, seconds=N or area"
      )
    if found["at"] == "area":
      return cls(found["metric"], "area")
    return cls(found["metric"], found["axis"], float(found["value"]))


@dataclass(frozen=True)
class Claim:
  """A relation between two variants' means: metric(left) `relation` factor x metric(right) + margin.

  Attributes:
    text: the claim in words, as the source states it.
    left, right: labels of the two variants.
    relation: one of `<=`, `<`, `>=`, `>`, or `==` for equal within the margin.
    source: paper and table, section or page.
    metric: empty for the experiment's metric; or another measure of the runs, see `Measure`:
      `train/loss`, `eval/error@step=500`, `eval/error@area`, `parameters`, `ms_per_step`.
    margin: in the metric's unit (errors are fractions in [0, 1]). A margin above 0 with `<=` claims
      that `left` exceeds `right` by no more than the margin.
    factor: of the right side: 0.5 with `<=` claims "at most half".
    equal: a cost (`parameters`, `multiply_adds`, ...) in which both sides must agree for the claim
      to be tested; empty for none.
    tolerance: by which fraction of the larger side that cost may differ.
  """

  text: str
  left: str
  relation: str
  right: str
  source: str
  metric: str = ""
  margin: float = 0.0
  factor: float = 1.0
  equal: str = ""
  tolerance: float = 0.1

  def __post_init__(self) -> None:
    """Raises ConfigError for a relation, number or metric that cannot be used."""
    where = f"claim {self.text!r}"
    if self.relation not in RELATIONS:
      raise ConfigError(f"{where}: " + unknown("relation", str(self.relation), RELATIONS))
    if self.left == self.right:
      raise ConfigError(f"{where}: both sides are {self.left!r}")
    if not _is_number(self.margin):
      raise ConfigError(f"{where}: margin is {self.margin!r}; allowed: a finite number")
    if self.relation == "==" and self.margin <= 0:
      raise ConfigError(f"{where}: '==' needs a margin over 0, not {self.margin!r}")
    if not _is_number(self.factor) or self.factor <= 0:
      raise ConfigError(f"{where}: factor is {self.factor!r}; allowed: a finite number over 0")
    if not _is_number(self.tolerance) or self.tolerance < 0:
      raise ConfigError(f"{where}: tolerance is {self.tolerance!r}; allowed: 0 and more")
    if self.equal and self.equal not in COSTS:
      raise ConfigError(f"{where}: " + unknown("cost in 'equal'", self.equal, COSTS))
    Measure.parse(self.metric)


@dataclass(frozen=True)
class Condition:
  """What the runs of a variant must show for claims about it to be tested: its regime.

  Attributes:
    text: the regime in words, such as "the nets fit their training set".
    metric: as of `Claim.metric`; the mean over seeds is compared.
    relation: `<=` or `>=`.
    value: in the metric's unit.
    variants: shell patterns of the labels that it is about.
  """

  text: str
  metric: str
  relation: str
  value: float
  variants: tuple[str, ...] = ("*",)

  def __post_init__(self) -> None:
    """Raises ConfigError for a relation, number or metric that cannot be used."""
    where = f"condition {self.text!r}"
    if self.relation not in ("<=", ">="):
      raise ConfigError(f"{where}: " + unknown("relation", str(self.relation), ("<=", ">=")))
    if not _is_number(self.value):
      raise ConfigError(f"{where}: value is {self.value!r}; allowed: a finite number")
    Measure.parse(self.metric)

  def concerns(self, label: str) -> bool:
    """Returns whether it is about a variant."""
    return any(fnmatch.fnmatchcase(label, pattern) for pattern in self.variants)

  def met_by(self, value: float) -> bool:
    """Returns whether a variant's mean meets it; an unknown one (NaN) does not."""
    return value <= self.value if self.relation == "<=" else value >= self.value


def _is_number(value: object) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
