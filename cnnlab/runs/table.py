"""All runs below a directory as one table: status, progress, main metric, what differs between them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cnnlab import metrics
from cnnlab.config import flatten
from cnnlab.errors import RunError
from cnnlab.runs.files import present, read_json
from cnnlab.runs.lease import is_leased
from cnnlab.runs.loading import find_runs
from cnnlab.runs.rows import checked_rows
from cnnlab.runs.status import effective_status, read_status
from cnnlab.types import Json, JsonMapping

MAIN_METRIC: tuple[str, str] = (
  "eval/error",
  metrics.find("error").better,
)  # of a config that names none
COLUMNS = ("run", "status", "step", "total_steps", "metric", "best", "last", "differs")


def runs_table(root: str | os.PathLike[str]) -> pd.DataFrame:
  """Returns one row for every run at or below `root`, in the order of their paths.

  Columns: `run` (path relative to root), `status` ('dead' is a 'running' one whose process is
  gone, 'damaged' one whose files cannot be read or lack rows), `step`, `total_steps`, `metric` (name of the
  main one), `best` and `last` of it, `differs` (`key=value` of every config key that is not the
  same in all of these runs), `reason` of a failure.

  Raises:
    RunError: the directory does not exist.
  """
  top = Path(root)
  rows, configs = [], []
  for directory in find_runs(top):
    row, config = _row(directory)
    rows.append({"run": os.path.relpath(directory, top)} | row)
    configs.append(config)
  for row, text in zip(rows, varying_keys(configs), strict=True):
    row["differs"] = text
  return pd.DataFrame(rows, columns=[*COLUMNS, "reason"])


def varying_keys(configs: Sequence[JsonMapping | None]) -> list[str]:
  """Returns for each flat config the `key=value` of the keys that are not the same in all.

  A config of None (unreadable) gives an empty text and does not count in the comparison.
  """
  readable = [config for config in configs if config is not None]
  keys = sorted({key for config in readable for key in config})
  absent = object()
  varying = [k for k in keys if len({_text(c.get(k, absent)) for c in readable}) > 1]
  return [
    "" if config is None else " ".join(f"{k}={_text(config[k])}" for k in varying if k in config)
    for config in configs
  ]


def flat_config(directory: Path) -> Json:
  """Returns the `{dotted.key: value}` of a run's config.json, derived values left out.

  Raises:
    RunError: the file is missing or damaged.
  """
  config = read_json(directory / "config.json")
  return {k: v for k, v in flatten(config).items() if not k.startswith("derived.")}


def main_metric(directory: Path) -> tuple[str, str]:
  """Returns the metric by which a run's task judges it, and which value is better (min or max).

  Raises:
    RunError: config.json is missing or damaged.
  """
  name, mode = _derived(directory).get("main_metric", MAIN_METRIC)
  return (name if "/" in name else f"eval/{name}"), mode


def declared_metrics(directory: Path) -> tuple[metrics.Metric, ...]:
  """Returns the metrics that a run's task declares; none for a run of earlier code.

  Raises:
    RunError: config.json is missing or damaged.
  """
  return metrics.from_json(_derived(directory).get("metrics", {}))


def _derived(directory: Path) -> Json:
  path = directory / "config.json"
  derived = read_json(path).get("derived", {})
  if not isinstance(derived, dict):
    raise RunError(f"{path}: 'derived' is no object")
  return derived


def _row(directory: Path) -> tuple[Json, Json | None]:
  """Returns a run's row and its config; a run that is damaged in any way must not hide the others."""
  row: Json = {"status": "queued", "reason": ""}
  config = None
  try:
    status = read_status(directory)
    if status:
      row |= {
        "status": effective_status(status, is_leased(directory)),
        "reason": status.get("reason") or "",
      }
      row |= {"step": status.get("step"), "total_steps": status.get("total_steps")}
    metric, mode = MAIN_METRIC
    if present(directory / "config.json"):
      config = flat_config(directory)
      metric, mode = main_metric(directory)
    row |= _values(directory, status, metric, mode)
  except RunError as error:
    row |= {"status": "damaged", "reason": str(error)}
  except Exception as error:  # JSON that is whole may still hold anything
    row |= {"status": "damaged", "reason": f"{directory}: {type(error).__name__}: {error}"}
  return row, config


def _values(directory: Path, status: JsonMapping, metric: str, mode: str) -> Json:
  """Returns the best and last value of the main metric.

  Raises:
    RunError: rows are missing, or are not as they were written.
  """
  lines = checked_rows(directory, status)
  values = [line[metric] for line in lines if line.get(metric) is not None]
  if not values:
    return {}
  best = min(values) if mode == "min" else max(values)
  return {"metric": metric, "best": best, "last": values[-1]}


def _text(value: object) -> str:
  return value if isinstance(value, str) else json.dumps(value, default=lambda _: "absent")
