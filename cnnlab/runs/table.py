"""Runs side by side: their status, their metrics, and the config keys in which they differ."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab import metrics
from cnnlab.config import flatten
from cnnlab.errors import RunError
from cnnlab.runs.files import present, read_json
from cnnlab.runs.lease import is_leased
from cnnlab.runs.loading import Run, find_runs, load
from cnnlab.runs.named import MAIN_METRIC, main_metric_of
from cnnlab.runs.rows import checked_rows
from cnnlab.runs.status import effective_status, read_status
from cnnlab.types import Json, JsonMapping

if TYPE_CHECKING:
  import pandas as pd

COLUMNS = (
  "run", "status", "step", "total_steps", "metric", "evaluated", "last", "best", "differs", "reason",
)  # fmt: skip
COSTS = ("seconds", "parameters", "multiply_adds")


@dataclass
class Entry:
  """What a table shows of a run; what is not known is left out.

  Attributes:
    name: the run's directory as it is shown.
    row: `status`, `reason`, `step`, `total_steps`, `COSTS`, and of the task's main metric its name
      (`metric`), what it is of (`evaluated`, as in `evaluated_part`), `last` and `best` value.
    config: flat, without what was derived; None if it cannot be read.
    metrics: the last value of each metric that was logged, those of single classes left out.
  """

  name: str
  row: Json
  config: Json | None = None
  metrics: Json = field(default_factory=dict)

  @property
  def values(self) -> Json:
    """Everything by name: of the row, the config and the metrics."""
    return {"run": self.name, **self.row, **(self.config or {}), **self.metrics}


def entries(root: str | os.PathLike[str]) -> list[Entry]:
  """Returns what is read of every run at or below `root`, in the order of their paths.

  Raises:
    RunError: the directory does not exist.
  """
  top = Path(root)
  return [_entry(directory, os.path.relpath(directory, top)) for directory in find_runs(top)]


def runs_table(root: str | os.PathLike[str]) -> pd.DataFrame:
  """Returns one row for every run at or below `root`, in the order of their paths.

  Columns: `run` (path relative to root), `status` ('dead' is a 'running' one whose process is
  gone, 'damaged' one whose files cannot be read or lack rows), `step`, `total_steps`, `metric` (name
  of the main one), `evaluated` (what it is of: `test` or `validation`), `last` and `best` of it,
  `differs` (`key=value` of every config key that is not the same in all of these runs), `reason` of
  a failure.

  Raises:
    RunError: the directory does not exist.
  """
  return table_of(entries(root))


def table_of(
  found: Sequence[Entry], columns: Sequence[str] = (), most_keys: int | None = None
) -> pd.DataFrame:
  """Returns the table of `runs_table` of some runs.

  Args:
    found: what was read of them.
    columns: names of values that take the place of `differs`: config keys, metrics, costs.
    most_keys: how many config keys `differs` tells of at most: those of `telling_keys`.
  """
  import pandas as pd

  configs = [entry.config for entry in found]
  keys = varying_keys(configs) if most_keys is None else telling_keys(configs, most_keys)
  rows = []
  for entry in found:
    row = {name: value for name, value in entry.row.items() if name in COLUMNS}
    row |= {"run": entry.name, "differs": _differences(entry.config, keys)}
    rows.append(row | {name: entry.values.get(name) for name in columns})
  head = [name for name in COLUMNS if not (columns and name in ("differs", "reason"))]
  extra = [name for name in columns if name not in (*head, "reason")]
  return pd.DataFrame(rows, columns=[*head, *extra, *(["reason"] if columns else [])])


def compare(
  runs: Iterable[Run | str | os.PathLike[str]] | str | os.PathLike[str],
) -> pd.DataFrame:
  """Returns one row per run: what differs between their configs, and what came of it.

  Columns, as far as any of the runs has them: `status`, `step`, `seconds` of training, `parameters`,
  `multiply_adds` (of one image, forward), each config key that is not the same in all of them, the
  last value of each metric under its name in metrics.jsonl, and `best <metric>`: the best of all
  evaluations by the task's main metric. Since it was chosen by the data that it is of, it is no
  result; compare the last ones.

  Args:
    runs: runs, or their directories; or one directory, for all runs at or below it.

  Returns:
    The table; its index names the runs by the part of their paths that differs.

  Raises:
    RunError: a directory does not exist, or is no run.
  """
  import pandas as pd

  if isinstance(runs, (str, os.PathLike)):
    found = entries(runs)
  else:
    folders = [run.directory if isinstance(run, Run) else load(run).directory for run in runs]
    top = os.path.commonpath([folder.parent for folder in folders]) if folders else ""
    found = [_entry(folder, os.path.relpath(folder, top)) for folder in folders]
  keys = varying_keys([entry.config for entry in found])
  logged = dict.fromkeys(name for entry in found for name in entry.metrics)
  rows, best = [], []
  for entry in found:
    row = dict(entry.values)
    if "best" in entry.row:
      best.append(f"best {entry.row['metric']}")
      row[best[-1]] = entry.row["best"]
    rows.append(row)
  columns = ["status", "step", *COSTS, *keys, *logged, *dict.fromkeys(best)]
  table = pd.DataFrame(rows, columns=columns, index=[entry.name for entry in found])
  return table.dropna(axis="columns", how="all").rename_axis("run")


def varying_keys(configs: Sequence[JsonMapping | None]) -> list[str]:
  """Returns the keys of flat configs that are not the same in all, sorted; None does not count."""
  readable = [config for config in configs if config is not None]
  keys = sorted({key for config in readable for key in config})
  return [key for key in keys if len({_value(config, key) for config in readable}) > 1]


def telling_keys(configs: Sequence[JsonMapping | None], most: int) -> list[str]:
  """Returns the few varying keys that tell most of the runs apart, sorted.

  Names, such as the model's and the data set's, come first. Each further key is the one that splits
  the groups of runs that look alike into the most parts.
  """
  left = varying_keys(configs)
  if len(left) <= most:
    return left
  readable = [config for config in configs if config is not None]
  chosen = [key for key in left if key.endswith(".name")][: most // 2]
  while len(chosen) < most:

    def parts(key: str) -> tuple[int, int]:
      looks = {tuple(_value(config, k) for k in (*chosen, key)) for config in readable}
      return len(looks), sum(key in config for config in readable)  # of equals, what most runs have

    chosen.append(max((key for key in left if key not in chosen), key=parts))
  return sorted(chosen)


def flat_config(directory: Path) -> Json:
  """Returns the `{dotted.key: value}` of a run's config.json, derived values left out.

  Raises:
    RunError: the file is missing or damaged.
  """
  return _settings(read_json(directory / "config.json"))


def main_metric(directory: Path) -> tuple[str, str]:
  """Returns the metric by which a run's task judges it, and which value is better (min or max).

  Raises:
    RunError: config.json is missing or damaged.
  """
  return main_metric_of(_derived(directory))


def declared_metrics(directory: Path) -> tuple[metrics.Metric, ...]:
  """Returns the metrics that a run's task declares; none for a run of earlier code.

  Raises:
    RunError: config.json is missing or damaged.
  """
  return metrics.from_json(_derived(directory).get("metrics", {}))


def evaluated_part(config: JsonMapping) -> str:
  """Returns what `eval/` metrics are of: `test`, or `validation` with `data.validation`.

  Args:
    config: of the run, as from `flat_config`.
  """
  return "validation" if config.get("data.validation") else metrics.SPLITS["eval"]


def _settings(config: JsonMapping) -> Json:
  return {k: v for k, v in flatten(config).items() if not k.startswith("derived.")}


def _derived(directory: Path) -> Json:
  path = directory / "config.json"
  derived = read_json(path).get("derived", {})
  if not isinstance(derived, dict):
    raise RunError(f"{path}: 'derived' is no object")
  return derived


def _entry(directory: Path, name: str) -> Entry:
  """Returns what is read of a run; one that is damaged in any way must not hide the others."""
  entry = Entry(name, {"status": "queued", "reason": ""})
  try:
    status = read_status(directory)
    if status:
      entry.row |= {
        "status": effective_status(status, is_leased(directory)),
        "reason": status.get("reason") or "",
      }
      entry.row |= {key: status.get(key) for key in ("step", "total_steps", "seconds")}
    metric, mode = MAIN_METRIC
    if present(directory / "config.json"):
      entry.config = flat_config(directory)
      derived = _derived(directory)
      metric, mode = main_metric_of(derived)
      entry.row |= {key: derived[key] for key in COSTS if key in derived}
    _read_values(entry, checked_rows(directory, status), metric, mode)
  except RunError as error:
    entry.row |= {"status": "damaged", "reason": str(error)}
  except Exception as error:  # JSON that is whole may still hold anything
    entry.row |= {"status": "damaged", "reason": f"{directory}: {type(error).__name__}: {error}"}
  return entry


def _read_values(entry: Entry, rows: Sequence[JsonMapping], metric: str, mode: str) -> None:
  """Adds the last value of each metric to an entry, and the best value of the main one."""
  for row in rows:
    named = (name for name in row if name.count("/") == 1)  # `eval/iou/road` is of a class
    entry.metrics |= {name: row[name] for name in named if row[name] is not None}
  values = [row[metric] for row in rows if row.get(metric) is not None]
  if values:
    best = min(values) if mode == "min" else max(values)
    evaluated = evaluated_part(entry.config or {})
    entry.row |= {"metric": metric, "evaluated": evaluated, "last": values[-1], "best": best}


def _differences(config: JsonMapping | None, keys: Sequence[str]) -> str:
  return " ".join(f"{key}={_value(config, key)}" for key in keys if config and key in config)


_ABSENT = "absent"


def _value(config: JsonMapping, key: str) -> str:
  """Returns a config's value as text; a missing key differs from every value."""
  value = config.get(key, ...)
  return value if isinstance(value, str) else json.dumps(value, default=lambda _: "absent")
