"""An experiment as data: one question, a base config, variants as overrides, seeds, claims.

It is written in `experiments/<name>/experiment.py` as `get_experiment(recipe='')`, and kept
with its runs as `<root>/<name>/experiment.json`, from which every report is rebuilt.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cnnlab import metrics
from cnnlab.errors import ConfigError, RunError, unknown

FILE = "experiment.json"
COST_FILE = "cost.json"  # in a run's directory: what `cnnlab.lab.execute` measured about it
RELATIONS = ("<=", "<", ">=", ">")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]*")
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Claim:
  """An inequality between two variants' means: metric(left) `relation` metric(right) + margin.

  Attributes:
    text: the claim in words, as the source makes it.
    left, right: variant labels.
    relation: one of `<=`, `<`, `>=`, `>`.
    source: paper and table, section or page.
    metric: empty for the experiment's own; any other of metrics.jsonl, at a run's last step, or a
      cost: `parameters`, `multiply_adds`, `ms_per_step`, `seconds`.
    margin: in the metric's unit (errors are fractions in [0, 1]); above 0 with `<=` it asks
      whether `left` is no worse than by so much.
  """

  text: str
  left: str
  relation: str
  right: str
  source: str
  metric: str = ""
  margin: float = 0.0


@dataclass(frozen=True)
class Published:
  """A paper's figure for a variant, in the unit of the experiment's metric, with its source."""

  value: float
  source: str
  note: str = ""


@dataclass(frozen=True)
class Experiment:
  """One question and the runs that answer it.

  Attributes:
    name: the folder that its runs lie in.
    question: one sentence.
    config: the base config's page, `path.py` or `path.py:argument`.
    overrides: {dotted.config.key: value} of all variants, on top of the page.
    variants: label -> {dotted.config.key: value}; the label is a folder's name as well.
    base: the variant that the others are compared with, seed by seed.
    seeds: all variants are trained with each.
    metric: by which variants are judged: its value at a run's last evaluation.
    mode: `min` or `max`, which of two values is the better one; empty for what the metric's
      declaration says.
    claims, paper: what the source says; figures by variant label.
    declared: metrics of the task, as its runs declare them; not part of experiment.json.
    recipe, note: name of this form of the experiment, and how it departs from the published one.

  Raises:
    ConfigError: a name, label, base, mode, relation or seed that cannot be used.
  """

  name: str
  question: str
  config: str
  variants: Mapping[str, Mapping[str, Any]]
  base: str
  seeds: tuple[int, ...] = (0, 1, 2)
  metric: str = "eval/error"
  mode: str = ""
  claims: tuple[Claim, ...] = ()
  paper: Mapping[str, Published] = field(default_factory=dict)
  recipe: str = ""
  note: str = ""
  overrides: Mapping[str, Any] = field(default_factory=dict)
  declared: tuple[metrics.Metric, ...] = ()

  def __post_init__(self):
    where = f"experiment {self.name!r}"
    for what, text in (("name", self.name), *(("variant label", v) for v in self.variants)):
      if not _LABEL.fullmatch(text):
        raise ConfigError(
          f"{where}: {what} {text!r} must match {_LABEL.pattern}: it names a folder"
        )
    for what, label in self._labels_used():
      if label not in self.variants:
        raise ConfigError(f"{where}: " + unknown(f"variant as {what}", label, self.variants))
    if self.mode not in ("", "min", "max"):
      raise ConfigError(f"{where}: " + unknown("mode", self.mode, ("min", "max")))
    for claim in self.claims:
      if claim.relation not in RELATIONS:
        raise ConfigError(f"{where}: " + unknown("relation", claim.relation, RELATIONS))
    if not self.seeds or len(set(self.seeds)) != len(self.seeds):
      raise ConfigError(f"{where}: seeds must be distinct and at least one, not {self.seeds}")
    for label, overrides in {**self.variants, "(all)": self.overrides}.items():
      if "seed" in overrides:
        raise ConfigError(f"{where}: variant {label!r} sets 'seed', which `seeds` is for")

  def better(self, metric: str) -> str:
    """Returns `min` or `max`: which values of a metric are the better ones."""
    if metric == self.metric and self.mode:
      return self.mode
    return metrics.find(metric, self.declared).better

  def settings(self, label: str) -> dict[str, Any]:
    """Returns what a variant changes of the page: the shared overrides, then its own."""
    return {**self.overrides, **self.variants[label]}

  def _labels_used(self) -> list[tuple[str, str]]:
    claimed = [("side of a claim", side) for c in self.claims for side in (c.left, c.right)]
    return [("base", self.base), *claimed, *(("paper's figure", label) for label in self.paper)]

  def to_json(self) -> dict[str, Any]:
    """Returns the experiment as JSON holds it; `from_json` reads it back."""
    fields_of = asdict(self)
    fields_of.pop("declared")
    return json.loads(json.dumps(fields_of))


def from_json(value: Mapping[str, Any]) -> Experiment:
  """Returns the experiment that `to_json` gave; keys that a later version added are ignored.

  Raises:
    ConfigError: a field is missing or cannot be used.
  """
  known = {f.name for f in fields(Experiment)} - {"declared"}
  given = {key: value[key] for key in value if key in known}
  try:
    given["seeds"] = tuple(given["seeds"])
    given["claims"] = tuple(Claim(**claim) for claim in given.get("claims", ()))
    given["paper"] = {k: Published(**figure) for k, figure in given.get("paper", {}).items()}
    return Experiment(**given)
  except (KeyError, TypeError) as error:
    raise ConfigError(f"not an experiment: {error}") from error


def read_experiment(directory: Path) -> Experiment:
  """Returns the experiment of a sweep's directory, with the metrics that its runs declare.

  Raises:
    RunError: the file is missing or broken.
  """
  from cnnlab.runs.directory import read_json

  path = directory / FILE
  if not path.is_file():
    raise RunError(f"{str(directory)!r} is no sweep: it holds no {FILE}")
  try:
    experiment = from_json(read_json(path))
  except ConfigError as error:
    raise RunError(f"{path}: {error}") from error
  return replace(experiment, declared=_declared(directory))


def _declared(directory: Path) -> tuple[metrics.Metric, ...]:
  """Returns the metrics of a sweep's task: those that the first readable run declares."""
  from cnnlab.runs.table import declared_metrics

  for path in sorted(directory.glob("*/seed*/config.json")):
    try:
      found = declared_metrics(path.parent)
    except RunError:
      continue
    if found:
      return found
  return ()


def load_experiment(path_or_name: str, recipe: str = "") -> Experiment:
  """Returns the experiment of a folder, of its experiment.py, or of a name below `experiments/`.

  A relative path is looked for in the working directory, then in the project.

  Args:
    path_or_name: such as `experiments/all_cnn`, `experiments/all_cnn/experiment.py`, `all_cnn`.
    recipe: passed to the file's `get_experiment`; empty for its default.

  Raises:
    ConfigError: no such experiment (the nearest are named), no `get_experiment` in the file,
      no such recipe.
  """
  file = _find(path_or_name)
  spec = importlib.util.spec_from_file_location(f"cnnlab_experiment_{file.parent.name}", file)
  if spec is None or spec.loader is None:
    raise ConfigError(f"{file}: not a Python file")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_experiment"):
    raise ConfigError(f"{file}: defines no get_experiment(recipe='')")
  try:
    experiment = module.get_experiment(recipe)
  except KeyError as error:
    allowed = getattr(module, "RECIPES", ())
    raise ConfigError(f"{file}: " + unknown("recipe", recipe, allowed)) from error
  if not isinstance(experiment, Experiment):
    kind = type(experiment).__name__
    raise ConfigError(f"{file}: get_experiment returned {kind}, not an Experiment")
  return experiment


def _find(path_or_name: str) -> Path:
  given = Path(path_or_name)
  for base in (Path(), _PROJECT, _PROJECT / "experiments"):
    for candidate in (base / given, base / given / "experiment.py"):
      if candidate.is_file() and candidate.suffix == ".py":
        return candidate.resolve()
  names = [f"experiments/{p.parent.name}" for p in _PROJECT.glob("experiments/*/experiment.py")]
  raise ConfigError(unknown("experiment", path_or_name, names))
