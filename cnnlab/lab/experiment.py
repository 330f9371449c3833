"""An experiment as data: one question, a base config, variants as overrides, seeds, claims.

It is defined by `get_experiment(recipe='')` in `experiments/<name>/experiment.py`, and saved with
its runs as `<root>/<name>/experiment.json`, from which every report is rebuilt.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from cnnlab import metrics
from cnnlab.errors import ConfigError, RunError, unknown
from cnnlab.lab.variants import Overrides
from cnnlab.types import Json, JsonMapping

FILE = "experiment.json"
COST_FILE = "cost.json"  # in a run's directory: costs that `cnnlab.lab.execute` measured
RELATIONS = ("<=", "<", ">=", ">")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]*")
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Claim:
  """An inequality between two variants' means: metric(left) `relation` metric(right) + margin.

  Attributes:
    text: the claim in words, as the source states it.
    left, right: labels of the two variants.
    relation: one of `<=`, `<`, `>=`, `>`.
    source: paper and table, section or page.
    metric: empty for the experiment's metric; or another metric in metrics.jsonl, at a run's last
      step; or a cost: `parameters`, `multiply_adds`, `ms_per_step`, `seconds`.
    margin: in the metric's unit (errors are fractions in [0, 1]). A margin above 0 with `<=` claims
      that `left` exceeds `right` by no more than the margin.
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
    name: name of the experiment and of the folder with its runs.
    question: one sentence.
    config: the page of the base config, `path.py` or `path.py:argument`.
    variants: {label: {dotted.config.key: value}}; a label is also the name of a folder.
    base: the variant that the others are compared with, seed by seed.
    seeds: every variant is trained with each of them.
    metric: the metric that compares variants, by its value at a run's last evaluation.
    mode: `min` or `max`, whether low or high values are better; empty for what the metric declares.
    claims: what the sources claim.
    paper: {label: figure published for that variant}.
    recipe: name of this form of the experiment, such as `quick`; see `experiments.recipes`.
    note: how this form differs from the published one.
    overrides: {dotted.config.key: value} for all variants, applied to the page before their own.
    declared: metrics of the task, as its runs declare them; not part of experiment.json.

  Raises:
    ConfigError: a name, label, base, mode, relation or seed cannot be used.
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
  declared: tuple[metrics.Metric, ...] = ()

  def __post_init__(self):
    where = f"experiment {self.name!r}"
    for what, text in (("name", self.name), *(("variant label", v) for v in self.variants)):
      if not _LABEL.fullmatch(text):
        raise ConfigError(
          f"{where}: {what} {text!r} must match {_LABEL.pattern}, because it names a folder"
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
        raise ConfigError(f"{where}: variant {label!r} sets 'seed'; use `seeds` instead")

  def better(self, metric: str) -> str:
    """Returns `min` or `max`: whether low or high values of a metric are better."""
    if metric == self.metric and self.mode:
      return self.mode
    return metrics.find(metric, self.declared).better

  def settings(self, label: str) -> dict[str, object]:
    """Returns the overrides of a variant: the shared ones, then its own."""
    return {**self.overrides, **self.variants[label]}

  def _labels_used(self) -> list[tuple[str, str]]:
    claimed = [("side of a claim", side) for c in self.claims for side in (c.left, c.right)]
    return [("base", self.base), *claimed, *(("paper's figure", label) for label in self.paper)]

  def to_json(self) -> Json:
    """Returns the experiment as a JSON object; `from_json` is the inverse."""
    fields_of = asdict(self)
    fields_of.pop("declared")
    return json.loads(json.dumps(fields_of))


def from_json(value: JsonMapping) -> Experiment:
  """Returns the experiment saved by `to_json`; keys added by a later version are ignored.

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

  for path in sorted(directory.glob("*/seed*/config.json")):
    try:
      found = declared_metrics(path.parent)
    except RunError:
      continue
    if found:
      return found
  return ()


def load_experiment(path_or_name: str, recipe: str = "") -> Experiment:
  """Returns the experiment in a folder or file, or with a name in `experiments/`.

  A relative path is looked up in the working directory, then in the project.

  Args:
    path_or_name: such as `experiments/all_cnn`, `experiments/all_cnn/experiment.py`, `all_cnn`.
    recipe: passed to the file's `get_experiment`; empty for its default.

  Raises:
    ConfigError: the experiment or recipe does not exist (the message names the nearest), or the
      file does not define `get_experiment`.
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
