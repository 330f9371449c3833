"""An experiment as data: one question, a base config, variants as overrides, seeds, claims.

It is defined by `get_experiment(recipe='')` in `experiments/<name>/experiment.py`, and saved with
its runs as `<root>/<name>/experiment.json`, from which every report is rebuilt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from cnnlab import metrics
from cnnlab.annotations import fit
from cnnlab.errors import ConfigError, RunError, unknown
from cnnlab.lab.claim import COSTS, Claim, Condition
from cnnlab.lab.tuning import FOLDER, Tuning
from cnnlab.lab.variants import Overrides
from cnnlab.types import Json, JsonMapping

FILE = "experiment.json"
COST_FILE = "cost.json"  # in a run's directory: costs that `cnnlab.lab.execute` measured
MOST_LETTERS = 100  # of a label: file systems take 255 bytes of a name
LARGEST_SEED = 2**31 - 1
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]*")


@dataclass(frozen=True)
class Published:
  """A paper's figure for a variant, in the unit of the experiment's metric, with its source.

  Raises:
    ConfigError: the figure is no finite number.
  """

  value: float
  source: str
  note: str = ""

  def __post_init__(self) -> None:
    """Raises ConfigError, as the class says."""
    if not fit(self.value, float)[1]:
      raise ConfigError(f"published value {self.value!r}; allowed: a finite number")


# The fields of an experiment that a user writes by hand: name, type, type of its parts.
_TYPES: tuple[tuple[str, type, type | None], ...] = (
  *(
    (name, str, None) for name in ("question", "config", "base", "metric", "mode", "recipe", "note")
  ),
  ("variants", Mapping, Mapping),
  ("overrides", Mapping, None),
  ("seeds", tuple, int),
  ("claims", tuple, Claim),
  ("regime", tuple, Condition),
  ("paper", Mapping, Published),
)


@dataclass(frozen=True)
class Experiment:
  """One question and the runs that answer it.

  Attributes:
    name: name of the experiment and of the folder with its runs.
    question: one sentence.
    config: the page of the base config, `path.py` or `path.py:argument`.
    variants: {label: {dotted.config.key: value}}; a label is also the name of a folder.
    base: the variant that the others are compared with, seed by seed.
    seeds: every variant is trained with each of them.
    tuning: hyperparameters that every variant tries first; None for none.
    tuned: {label: overrides that tuning chose}; filled by a sweep, not by hand.
    regime: what the runs must show for the claims to be tested.
    pairing: `seeds` compares variants seed by seed; `none` takes the seeds of two variants for
      independent. To be chosen before the runs.
    metric: the metric that compares variants, by its value at a run's last evaluation; or a cost.
    mode: `min` or `max`, whether low or high values are better; empty for what the metric declares.
    claims: what the sources claim.
    looks: how often `cnnlab sweep --until decided` has looked at the verdicts.
    confirmed_by: seeds on which the claims, as they were before, are tested once more by themselves.
    paper: {label: figure published for that variant}.
    recipe: name of this form of the experiment, such as `quick`; see `cnnlab.experiments.recipes`.
    note: how this form differs from the published one.
    overrides: {dotted.config.key: value} for all variants, applied to the page before their own.
    declared: metrics of the task, as its runs declare them; not part of experiment.json.
    file: the file that defines it; empty if it was made in a program.

  Raises:
    ConfigError: a name, label, base, mode or seed cannot be used.
  """

  name: str
  question: str
  config: str
  variants: Mapping[str, Overrides]
  base: str
  seeds: tuple[int, ...] = (0, 1, 2)
  metric: str = "eval/error"
  mode: str = ""
  claims: tuple[Claim, ...] = ()
  paper: Mapping[str, Published] = field(default_factory=dict)
  recipe: str = ""
  note: str = ""
  overrides: Overrides = field(default_factory=dict)
  tuning: Tuning | None = None
  tuned: Mapping[str, Overrides] = field(default_factory=dict)
  regime: tuple[Condition, ...] = ()
  pairing: Literal["seeds", "none"] = "seeds"
  confirmed_by: tuple[int, ...] = ()
  looks: int = 0
  declared: tuple[metrics.Metric, ...] = ()
  file: str = ""

  def __post_init__(self) -> None:
    """Raises ConfigError, as the class says."""
    where = f"experiment {self.name!r}"
    self._check_types(where)
    for what, text in (("name", self.name), *(("variant label", v) for v in self.variants)):
      if not isinstance(text, str) or not _LABEL.fullmatch(text) or len(text) > MOST_LETTERS:
        raise ConfigError(
          f"{where}: {what} {text!r} names a folder; allowed: text that matches {_LABEL.pattern}, "
          f"up to {MOST_LETTERS} letters"
        )
    for what, label in self._labels_used():
      if label not in self.variants:
        raise ConfigError(f"{where}: " + unknown(f"variant as {what}", label, self.variants))
    if self.mode not in ("", "min", "max"):
      raise ConfigError(f"{where}: " + unknown("mode", self.mode, ("min", "max")))
    if self.pairing not in ("seeds", "none"):
      raise ConfigError(f"{where}: " + unknown("pairing", self.pairing, ("seeds", "none")))
    check_seeds(self.seeds, where)
    for label, overrides in {**self.variants, "(all)": self.overrides}.items():
      if "seed" in overrides:
        raise ConfigError(f"{where}: variant {label!r} sets 'seed'; use `seeds` instead")
      twice = sorted(set(overrides) & set(self.tuning.keys)) if self.tuning else []
      if twice and label != "(all)":
        raise ConfigError(f"{where}: variant {label!r} sets {twice[0]!r}, which is tuned")

  def _check_types(self, where: str) -> None:
    for name, kind, parts in _TYPES:
      value = getattr(self, name)
      inside = value.values() if isinstance(value, Mapping) else value
      fits = isinstance(value, kind)
      if not fits or (parts and not all(isinstance(one, parts) for one in inside)):
        of = f" of {parts.__name__}" if parts else ""
        raise ConfigError(f"{where}: {name} is {value!r:.200}; allowed: {kind.__name__}{of}")
    if self.metric not in COSTS and not self.metric.partition("/")[2]:
      raise ConfigError(
        f"{where}: metric is {self.metric!r}; allowed: one such as 'eval/error', or one of {COSTS}"
      )
    if not (self.tuning is None or isinstance(self.tuning, Tuning)):
      raise ConfigError(f"{where}: tuning is {self.tuning!r:.200}; allowed: Tuning or None")
    for label, overrides in {**self.variants, "(all)": self.overrides}.items():
      if wrong := [key for key in overrides if not isinstance(key, str)]:
        raise ConfigError(f"{where}: variant {label!r} sets {wrong[0]!r}, which is no config key")

  def better(self, metric: str) -> str:
    """Returns `min` or `max`: whether low or high values of a metric are better."""
    if metric == self.metric and self.mode:
      return self.mode
    return metrics.find(metric, self.declared).better

  @property
  def tuning_metric(self) -> str:
    """The metric by which tuning chooses, on the validation part unless it names another set."""
    return (self.tuning.metric if self.tuning else "") or self.metric

  def settings(self, label: str) -> dict[str, object]:
    """Returns the overrides of a variant: the shared ones, its own, then those that tuning chose."""
    return {**self.overrides, **self.variants[label], **self.tuned.get(label, {})}

  def _labels_used(self) -> list[tuple[str, str]]:
    claimed = [("side of a claim", side) for c in self.claims for side in (c.left, c.right)]
    return [("base", self.base), *claimed, *(("paper's figure", label) for label in self.paper)]

  def to_json(self) -> Json:
    """Returns the experiment as a JSON object; `from_json` is the inverse."""
    fields_of = asdict(self)
    fields_of.pop("declared")
    return json.loads(json.dumps(fields_of))


def check_seeds(seeds: Iterable[int], where: str) -> None:
  """Raises ConfigError unless the seeds are distinct whole numbers that JAX takes, at least one."""
  given = tuple(seeds)
  whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in given)
  if not given or not whole or len(set(given)) != len(given):
    raise ConfigError(f"{where}: seeds must be distinct whole numbers, at least one, not {given}")
  if min(given) < 0 or max(given) > LARGEST_SEED:
    raise ConfigError(f"{where}: seeds are {given}; allowed: 0 to {LARGEST_SEED}")


def from_json(value: JsonMapping) -> Experiment:
  """Returns the experiment saved by `to_json`; keys added by a later version are ignored.

  Raises:
    ConfigError: a field is missing or cannot be used.
  """
  known = {f.name for f in fields(Experiment)} - {"declared"}
  given = {key: value[key] for key in value if key in known}
  try:
    given["seeds"] = tuple(given["seeds"])
    given["confirmed_by"] = tuple(given.get("confirmed_by", ()))
    given["claims"] = tuple(Claim(**claim) for claim in given.get("claims", ()))
    given["paper"] = {k: Published(**figure) for k, figure in given.get("paper", {}).items()}
    given["regime"] = tuple(
      Condition(**one | {"variants": tuple(one["variants"])}) for one in given.get("regime", ())
    )
    if given.get("tuning"):
      tuning = given["tuning"]
      keys = {key: tuple(tried) for key, tried in tuning["keys"].items()}
      given["tuning"] = Tuning(**tuning | {"keys": keys, "seeds": tuple(tuning["seeds"])})
    return Experiment(**given)
  except (KeyError, TypeError, AttributeError) as error:
    raise ConfigError(f"not an experiment: {error}") from error


def read_experiment(directory: Path) -> Experiment:
  """Returns the experiment of a sweep's directory, with the metrics that its runs declare.

  Raises:
    RunError: experiment.json is missing or broken.
  """
  from cnnlab.runs.directory import read_json

  path = directory / FILE
  if not path.is_file():
    raise RunError(f"{str(directory)!r} is not a sweep: it holds no {FILE}")
  try:
    experiment = from_json(read_json(path))
  except ConfigError as error:
    raise RunError(f"{path}: {error}") from error
  return replace(experiment, declared=_declared(directory))


def _declared(directory: Path) -> tuple[metrics.Metric, ...]:
  """Returns the metrics declared by the first readable run of a sweep."""
  from cnnlab.runs.table import declared_metrics

  # While tuning runs are all there is, which of them is best depends on the metric's direction.
  patterns = "*/seed*/config.json", f"*/{FOLDER}/*/seed*/config.json"
  for path in (path for pattern in patterns for path in sorted(directory.glob(pattern))):
    try:
      found = declared_metrics(path.parent)
    except RunError:
      continue
    if found:
      return found
  return ()
