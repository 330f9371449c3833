"""The directory of a sweep: what its experiment.json says, and what may be added to it later."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.lab.experiment import FILE, Experiment, read_experiment
from cnnlab.lab.plan import chosen_seeds
from cnnlab.lab.variants import Overrides
from cnnlab.runs.directory import PLACES, write_json


def open_sweep(
  experiment: Experiment,
  root: str | os.PathLike[str],
  seeds: int | Sequence[int] | None = None,
  confirm: bool = False,
) -> Path:
  """Writes experiment.json to the sweep's directory and returns that directory.

  Seeds and tuned hyperparameters of an earlier sweep are kept, so that its runs stay in the report.

  Args:
    experiment, root, seeds: as of `plan`.
    confirm: the seeds are to confirm the claims by themselves. From then on the claims are frozen.

  Raises:
    RunError: the directory holds a sweep with another recipe, other overrides or another tuning,
      or confirms other claims; or there is nothing to confirm, or not with these seeds.
  """
  directory = Path(root) / experiment.name
  if confirm and not (directory / FILE).is_file():
    raise RunError(f"{directory} holds no sweep whose claims could be confirmed")
  chosen = set(chosen_seeds(experiment, seeds))
  merged = experiment
  if (directory / FILE).is_file():
    old = read_experiment(directory)
    _refuse_other(directory, old, experiment)
    tuned = {label: found for label, found in old.tuned.items() if label in experiment.variants}
    merged = dataclasses.replace(
      experiment, seeds=old.seeds, tuned=tuned, confirmed_by=old.confirmed_by, looks=old.looks
    )
    chosen = chosen if confirm else chosen | set(old.seeds)
  if confirm:
    merged = dataclasses.replace(merged, confirmed_by=_fresh(merged, chosen, directory))
  else:
    merged = dataclasses.replace(merged, seeds=tuple(sorted(chosen - set(merged.confirmed_by))))
  save_experiment(directory, merged)
  return directory


def save_experiment(directory: Path, experiment: Experiment) -> None:
  """Writes experiment.json to a sweep's directory."""
  directory.mkdir(parents=True, exist_ok=True)
  write_json(directory / FILE, experiment.to_json())


def _refuse_other(directory: Path, old: Experiment, new: Experiment) -> None:
  if old.recipe != new.recipe:
    raise RunError(
      f"{directory} holds a sweep with recipe {old.recipe!r}, not {new.recipe!r}; "
      "use another --root"
    )
  old_json, new_json = old.to_json(), new.to_json()
  old_shared, new_shared = (_without_places(e["overrides"]) for e in (old_json, new_json))
  if old_shared != new_shared:
    raise RunError(
      f"{directory} holds a sweep with the overrides {old_shared}, not {new_shared}; "
      "use another --root"
    )
  if old.tuned and old_json["tuning"] != new_json["tuning"]:
    raise RunError(
      f"{directory} holds a sweep that was tuned by {old_json['tuning']}, "
      f"not {new_json['tuning']}; use another --root"
    )
  if old.confirmed_by and old_json["claims"] != new_json["claims"]:
    raise RunError(
      f"{directory}: the claims were frozen when seeds {old.confirmed_by} began to confirm them, "
      "and the experiment now claims something else; use another --root"
    )


def _fresh(experiment: Experiment, seeds: set[int], directory: Path) -> tuple[int, ...]:
  """Returns the seeds to confirm with, those of earlier calls included; RunError for used ones."""
  used = sorted(seeds & set(experiment.seeds))
  if used:
    raise RunError(
      f"{directory}: seeds {used} have been used for the claims already; confirm with fresh ones, "
      f"such as --seeds {max(experiment.seeds) + 1}..{max(experiment.seeds) + 5}"
    )
  return tuple(sorted(seeds | set(experiment.confirmed_by)))


def _without_places(overrides: Overrides) -> dict[str, object]:
  return {key: value for key, value in overrides.items() if key not in PLACES}
