"""Checkpoints by name: `checkpoints/best` stands for the step that was best.

The name is resolved when it is used, from the metrics that each checkpoint holds. No link is kept
that a killed run could leave pointing to a checkpoint which is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnlab import metrics
from cnnlab.errors import RunError
from cnnlab.runs.files import present, read_json
from cnnlab.types import Json

CHECKPOINTS, ABOUT, BEST = "checkpoints", "about", "best"
MAIN_METRIC: tuple[str, str] = ("eval/error", metrics.find("error").better)  # of a config without


def main_metric_of(derived: Mapping[str, Any]) -> tuple[str, str]:
  """Returns the metric by which a run's task judges it, and which value is better (min or max).

  Args:
    derived: that section of the run's resolved config.
  """
  name, mode = derived.get("main_metric", MAIN_METRIC)
  return (name if "/" in name else f"eval/{name}"), mode


def is_checkpoint(path: Path) -> bool:
  """Returns whether a directory is a finished checkpoint; unfinished ones have longer names."""
  return path.name.isdigit() and (path / ABOUT).is_dir()


def about(checkpoint: Path) -> Json:
  """Returns the JSON of a checkpoint: its config, metrics and more, unchecked.

  Raises:
    RunError: it cannot be read, or its config or metrics are no objects.
  """
  path = checkpoint / ABOUT / "metadata"  # where Orbax's JSON handler puts the item
  found = read_json(path)
  for key in ("config", "metrics"):
    if not isinstance(found.get(key), dict):
      raise RunError(f"{path}: {key!r} is missing or no object")
  return found


def resolve(path: Path) -> Path:
  """Returns a path, with the directory of a step in the place of `<run>/checkpoints/best`.

  Raises:
    RunError: there is no best checkpoint.
  """
  named = path.name == BEST and path.parent.name == CHECKPOINTS
  return best_checkpoint(path.parent) if named and not present(path) else path


def best_checkpoint(checkpoints: Path) -> Path:
  """Returns the checkpoint that is best by the main metric of the run's task; of equals the newest.

  Args:
    checkpoints: the `checkpoints/` of a run.

  Raises:
    RunError: no checkpoint there has been evaluated, or one cannot be read.
  """
  steps = [path for path in checkpoints.glob("*") if is_checkpoint(path)]
  scored: list[tuple[float, int, Path]] = []
  for step in steps:
    found = about(step)
    name, mode = main_metric_of(found["config"].get("derived", {}))
    value = found["metrics"].get(name)
    if isinstance(value, (int, float)):
      scored.append((-value if mode == "min" else value, int(step.name), step))
  if not scored:
    raise RunError(
      f"{checkpoints / BEST}: none of the {len(steps)} checkpoints there has been evaluated; "
      f"name a step, or the run for the newest"
    )
  return max(scored)[2]
