"""Plans a sweep: each run of an experiment, with its directory, overrides and current state.

This is the plan of a sweep. The plan of a single run, its numbers of steps and epochs, is
`cnnlab.train.setup.Plan`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from cnnlab.config import apply_overrides, flatten, load_page, to_plain
from cnnlab.errors import ConfigError, RunError, unknown
from cnnlab.lab import tuning
from cnnlab.lab.experiment import Experiment, check_seeds
from cnnlab.lab.variants import Overrides
from cnnlab.runs.directory import config_differences, read_json
from cnnlab.runs.files import present
from cnnlab.runs.lease import is_leased
from cnnlab.runs.status import FINISHED, effective_status, read_status
from cnnlab.types import Json, JsonMapping

REFUSED = "other config"
DAMAGED = "damaged"
MOST_SEEDS = 10_000
SCALARS = ("seed", "optim.learning_rate")  # keys in which the runs of a compiled program may differ


@dataclass(frozen=True)
class RunSpec:
  """One run of a sweep; all fields are JSON values, so that any launcher can pass it on.

  Attributes:
    name: `<variant>/seed<k>`, or `<variant>/tuning/<setting>/seed<k>`.
    label: the variant.
    seed: the seed.
    directory: the run directory.
    config: the page of the base config.
    overrides: {dotted.config.key: value}, including the seed.
    state: a status in status.json, `absent` (not started), `dead` (its process ended without
      recording a status), `other config` (the directory holds a run with another config) or
      `damaged` (its config.json or status.json cannot be read).
  """

  name: str
  label: str
  seed: int
  directory: str
  config: str
  overrides: Overrides
  state: str = "absent"

  @property
  def to_do(self) -> bool:
    """Whether a launcher should train it."""
    return self.state not in (*FINISHED, "running", REFUSED, DAMAGED)

  def to_dict(self) -> Json:
    """Returns the fields as a JSON object."""
    return dataclasses.asdict(self)


def resolve(spec: JsonMapping | RunSpec) -> ConfigDict:
  """Returns the config of a run: its page with its overrides applied.

  Raises:
    ConfigError: the page or a key is unknown, or a value has the wrong type.
  """
  given = spec.to_dict() if isinstance(spec, RunSpec) else spec
  return apply_overrides(load_page(given["config"]), given["overrides"])


def plan(
  experiment: Experiment,
  root: str | os.PathLike[str],
  only: str | Iterable[str] | None = None,
  seeds: int | Sequence[int] | None = None,
) -> list[RunSpec]:
  """Returns every run of an experiment with its state in `root`.

  All variants of the first seed come first, so an interrupted sweep has complete pairs of runs.

  Args:
    experiment: the experiment.
    root: runs are at `<root>/<experiment>/<variant>/seed<k>`.
    only: shell patterns of variant labels; a string may hold several, separated by spaces (labels
      may contain commas). The base is included only if a pattern matches it.
    seeds: a count (seeds 0 to count - 1) or the seeds themselves; None for the experiment's.

  Raises:
    ConfigError: a pattern matches no variant, or a variant's config cannot be used.
  """
  labels, page = select(experiment, only), load_page(experiment.config)
  return [
    _spec(experiment, page, root, label, label, experiment.settings(label) | {"seed": seed})
    for seed in chosen_seeds(experiment, seeds)
    for label in labels
  ]


def plan_tuning(
  experiment: Experiment,
  root: str | os.PathLike[str],
  only: str | Iterable[str] | None = None,
) -> list[RunSpec]:
  """Returns the tuning runs of the variants that are not tuned yet; none without a tuning.

  Args:
    experiment, root, only: as of `plan`; the runs are at `<variant>/tuning/<setting>/seed<k>`.

  Raises:
    ConfigError: as of `plan`.
  """
  asked = experiment.tuning
  labels, page = select(experiment, only), load_page(experiment.config)
  if asked is None:
    return []
  return [
    _spec(
      experiment,
      page,
      root,
      label,
      f"{label}/{tuning.FOLDER}/{setting}",
      {**experiment.settings(label), **asked.shared, **tried, "seed": seed},
    )
    for seed in asked.seeds
    for label in labels
    if label not in experiment.tuned
    for setting, tried in asked.settings.items()
  ]


def _spec(
  experiment: Experiment,
  page: ConfigDict,
  root: str | os.PathLike[str],
  label: str,
  folder: str,
  overrides: dict[str, object],
) -> RunSpec:
  """Returns the run of a variant at `<root>/<experiment>/<folder>/seed<k>`, with its state."""
  try:
    config = to_plain(apply_overrides(page, overrides))
  except ConfigError as error:
    raise ConfigError(f"experiment {experiment.name!r}, variant {label!r}: {error}") from error
  seed = int(str(overrides["seed"]))
  name = f"{folder}/seed{seed}"
  directory = Path(root) / experiment.name / name
  state = run_state(directory, config)
  where = str(directory.absolute())
  return RunSpec(name, label, seed, where, experiment.config, overrides, state)


def groups(specs: Sequence[RunSpec]) -> tuple[list[list[RunSpec]], dict[str, str]]:
  """Returns the runs in groups that can be trained as one compiled program.

  A group holds the runs whose configs differ in `SCALARS` alone. Whether `data.placement='auto'`
  puts the data set on the device is decided when the group starts; if it does not, the runs of
  the group are trained one after the other.

  Args:
    specs: runs of a sweep, in any state.

  Returns:
    (the groups in the order of their first runs, {name: reason} of runs that are trained alone).

  Raises:
    ConfigError: a config cannot be resolved.
  """
  together: dict[str, list[RunSpec]] = {}
  alone = {}
  for spec in specs:
    config = flatten(to_plain(resolve(spec)))
    reason = _alone(config)
    if reason:
      alone[spec.name] = reason
    shared = {key: value for key, value in config.items() if key not in SCALARS}
    key = spec.name if reason else json.dumps(shared, sort_keys=True, default=str)
    together.setdefault(key, []).append(spec)
  for group in together.values():
    if len(group) == 1:
      reason = f"no other run differs from it in {' and '.join(SCALARS)} alone"
      alone.setdefault(group[0].name, reason)
  return list(together.values()), alone


def _alone(config: JsonMapping) -> str:
  """Returns why runs with this config cannot share a compiled program; empty if they can."""
  if config["parallel"] != "jit":
    return f"parallel is {config['parallel']!r}"
  if config["data.placement"] == "stream":
    return "data.placement is 'stream'"
  return ""


def run_state(directory: Path, config: JsonMapping | None = None) -> str:
  """Returns the state of a run, as in `RunSpec.state`.

  Args:
    directory: the run directory, which need not exist.
    config: the requested config, compared with config.json; None skips the comparison.
  """
  if damage(directory):
    return DAMAGED
  existing = directory / "config.json"
  if existing.is_file() and config is not None and config_differences(read_json(existing), config):
    return REFUSED
  leased = is_leased(directory)
  if (directory / "status.json").is_file():
    return effective_status(read_json(directory / "status.json"), leased)
  if leased:
    return "running"  # it has just started
  return "interrupted" if existing.is_file() else "absent"


def damage(directory: Path) -> str:
  """Returns why a run's directory cannot be used, whatever the config; empty if it can."""
  if present(directory) and not directory.is_dir():
    return f"{directory} is no folder"
  try:
    if present(directory / "config.json"):
      read_json(directory / "config.json")
    read_status(directory)
  except RunError as error:
    return str(error)
  return ""


def parse_seeds(text: str) -> int | tuple[int, ...]:
  """Returns the seeds that `5` (0 to 4), `100..109` or `3,7` spells.

  Raises:
    ConfigError: it spells none.
  """
  if re.fullmatch(r"\d+", text):
    return int(text)
  if found := re.fullmatch(r"(\d+)\.\.(\d+)", text):
    first, last = map(int, found.groups())
    if first <= last < first + MOST_SEEDS:
      return tuple(range(first, last + 1))
  elif re.fullmatch(r"\d+(,\d+)+", text):
    return tuple(map(int, text.split(",")))
  raise ConfigError(
    f"cannot read the seeds {text!r}; allowed: a count such as 5, a range such as 100..109 "
    f"(up to {MOST_SEEDS:,}), or a list such as 3,7"
  )


def chosen_seeds(experiment: Experiment, seeds: int | Sequence[int] | None) -> tuple[int, ...]:
  """Returns the seeds that `plan` takes: the experiment's, 0 to a count - 1, or the given ones.

  Raises:
    ConfigError: they cannot be used.
  """
  if seeds is None:
    return tuple(experiment.seeds)
  if isinstance(seeds, int) and seeds > MOST_SEEDS:
    raise ConfigError(f"{seeds} seeds are asked for; allowed: 1 to {MOST_SEEDS:,}")
  chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
  check_seeds(chosen, f"experiment {experiment.name!r}")
  return chosen


def select(experiment: Experiment, only: str | Iterable[str] | None) -> list[str]:
  """Returns the labels of the variants that match shell patterns, as `plan` takes them.

  Raises:
    ConfigError: a pattern matches none.
  """
  labels = list(experiment.variants)
  if only is None:
    return labels
  patterns = only.split() if isinstance(only, str) else list(only)
  for pattern in patterns or [""]:
    if not fnmatch.filter(labels, pattern):
      raise ConfigError(unknown(f"variant of experiment {experiment.name!r}", pattern, labels))
  return [label for label in labels if any(fnmatch.fnmatchcase(label, p) for p in patterns)]
