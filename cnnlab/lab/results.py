"""A sweep's runs as one table, with a row for every run that is requested or exists."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cnnlab.errors import RunError
from cnnlab.lab.claim import COSTS, Measure
from cnnlab.lab.experiment import COST_FILE, FILE, Experiment, read_experiment
from cnnlab.lab.plan import REFUSED
from cnnlab.lab.tuning import FOLDER, Tuning
from cnnlab.lab.variants import Overrides
from cnnlab.runs.directory import PLACES, read_json
from cnnlab.runs.lease import is_leased
from cnnlab.runs.loading import Run, is_run
from cnnlab.runs.rows import checked_rows, read_json_lines
from cnnlab.runs.status import effective_status
from cnnlab.runs.table import flat_config
from cnnlab.types import Json, JsonMapping

COLUMNS = (
  "variant", "seed", "status", "step", "total_steps", "value", "trainset", "parameters",
  "multiply_adds", "seconds", "ms_per_step", "peak_memory", "directory", "reason", "confirms",
)  # fmt: skip
TUNING_COLUMNS = ("variant", "setting", "seed", "status", "value", "seconds", "directory")


def find_sweeps(directory: str | os.PathLike[str]) -> list[Path]:
  """Returns the sweeps in a directory: itself, or those among its subfolders, sorted.

  Raises:
    RunError: the directory is missing or holds no sweep.
  """
  top = Path(directory)
  if not top.is_dir():
    raise RunError(f"directory {str(top)!r} does not exist")
  if (top / FILE).is_file():
    return [top]
  found = sorted(path.parent for path in top.glob(f"*/{FILE}"))
  if not found:
    raise RunError(
      f"{str(top)!r} holds no sweep (no {FILE} in it or its subfolders); `cnnlab runs` lists "
      "the runs in any directory"
    )
  return found


def collect(
  directory: str | os.PathLike[str], experiment: Experiment | None = None
) -> pd.DataFrame:
  """Returns one row for every run of a sweep, in the order of its variants and seeds.

  Columns: `variant`, `seed`, `status` (as in `cnnlab.runs.table.runs_table`; also `missing` for a
  requested run that was never started, and `other config` for a run whose config.json contradicts
  the variant's settings), `step`, `total_steps`, `value` (the experiment's metric at the last
  evaluation), `trainset` (the same on the training set), `parameters`, `multiply_adds` (one image,
  forward), `seconds` (of training), `ms_per_step` (median), `peak_memory` (bytes, if the device
  reports it), `directory`, `reason`, `confirms` (whether its seed confirms the claims by itself);
  and one column for each other measure that a claim or a condition names, spelled as there. Only
  runs that are done have measures. A variant without any run that confirms is not asked for one.

  Raises:
    RunError: the directory is not a sweep.
  """
  top = Path(directory)
  experiment = experiment or read_experiment(top)
  fresh = set(experiment.confirmed_by)
  rows = []
  for label in experiment.variants:
    found = {
      int(m[1]) for p in top.glob(f"{label}/seed*") if (m := re.fullmatch(r"seed(\d+)", p.name))
    }
    # A variant without any fresh seed was left out of the confirmation by `--only`.
    asked = {*experiment.seeds, *(fresh if found & fresh else ())}
    for seed in sorted(found | asked):
      name = f"{label}/seed{seed}"
      row = {"variant": label, "seed": seed, "directory": name}
      row["confirms"] = seed in fresh
      expected = _expected(experiment, label) | {"seed": seed}
      rows.append(row | _read(top / name, expected, experiment))
  return pd.DataFrame(rows, columns=[*COLUMNS, *_further_measures(experiment)])


def collect_tuning(
  directory: str | os.PathLike[str], experiment: Experiment | None = None
) -> pd.DataFrame:
  """Returns one row for every tuning run of a sweep, in the order of variants, settings and seeds.

  Columns: `variant`, `setting` (its label in the grid), `seed`, `status` as of `collect`, `value`
  (the metric that tuning chooses by, at the last evaluation; NaN unless done), `seconds`,
  `directory`. Without a tuning there are no rows.

  Raises:
    RunError: the directory is not a sweep.
  """
  top = Path(directory)
  experiment = experiment or read_experiment(top)
  rows = _tuning_rows(top, experiment, experiment.tuning) if experiment.tuning else []
  table = pd.DataFrame(rows, columns=list(TUNING_COLUMNS))
  return table.astype({"value": float, "seconds": float})


def _tuning_rows(top: Path, experiment: Experiment, tuning: Tuning) -> list[Json]:
  untuned = replace(experiment, tuned={})
  judged = replace(experiment, metric=experiment.tuning_metric)
  rows = []
  runs = itertools.product(experiment.variants, tuning.settings.items(), tuning.seeds)
  for label, (setting, tried), seed in runs:
    name = f"{label}/{FOLDER}/{setting}/seed{seed}"
    expected = {**_expected(untuned, label), **tuning.shared, **tried, "seed": seed}
    row = {"variant": label, "setting": setting, "seed": seed, "directory": name}
    rows.append(row | _read(top / name, expected, judged))
  return rows


def _expected(experiment: Experiment, label: str) -> dict[str, object]:
  """Returns what the config of a variant's runs must hold; where its data lie does not matter."""
  shared = {k: v for k, v in experiment.overrides.items() if k not in PLACES}
  return replace(experiment, overrides=shared).settings(label)


def _further_measures(experiment: Experiment) -> list[str]:
  named = [claim.metric for claim in experiment.claims]
  named += [condition.metric for condition in experiment.regime]
  known = ("", *COLUMNS, experiment.metric)
  return [name for name in dict.fromkeys(named) if name not in known]


def strangers(directory: str | os.PathLike[str], experiment: Experiment) -> list[str]:
  """Returns the names of a sweep's folders whose runs belong to no variant of the experiment."""
  top = Path(directory)
  others = (p for p in sorted(top.iterdir()) if p.is_dir() and p.name not in experiment.variants)
  return [p.name for p in others if any(is_run(run) for run in p.glob("seed*"))]


def _read(run: Path, expected: Overrides, experiment: Experiment) -> Json:
  if not is_run(run):
    return {"status": "missing", "reason": "never started"}
  try:
    return _read_run(Run(run), expected, experiment)
  except RunError as error:
    return {"status": "damaged", "reason": str(error)}
  except (AttributeError, KeyError, TypeError, ValueError) as error:  # JSON of another shape
    return {"status": "damaged", "reason": f"{run}: {type(error).__name__}: {error}"}


def _read_run(run: Run, expected: Overrides, experiment: Experiment) -> Json:
  status = run.status
  row: Json = {
    "status": effective_status(status, is_leased(run.directory)) if status else "queued",
    "step": status.get("step"),
    "total_steps": status.get("total_steps"),
    "seconds": status.get("seconds"),
    "reason": status.get("reason") or "",
  }
  if not (run.directory / "config.json").is_file():
    return row
  config = flat_config(run.directory)
  other = {key: value for key, value in expected.items() if not _same(config.get(key), value)}
  if other:
    key, value = next(iter(other.items()))
    reason = f"{key} is {config.get(key)!r}, the variant sets {value!r}"
    return row | {"status": REFUSED, "reason": reason}
  derived = read_json(run.directory / "config.json").get("derived", {})
  row |= {name: derived.get(name) for name in ("parameters", "multiply_adds")}
  row |= {"ms_per_step": _step_time(run, config["batch_size"]), "peak_memory": peak_memory(run)}
  if row["status"] != "done":
    return row  # an unfinished run does not show what its variant reaches
  rows = checked_rows(run.directory, status)
  times = read_json_lines(run.directory / "timing.jsonl")
  for name in (experiment.metric, *_further_measures(experiment)):
    column = "value" if name == experiment.metric else name
    row[column] = row[name] if name in COSTS else read_measure(rows, times, Measure.parse(name))
  leaf = experiment.metric.partition("/")[2] or experiment.metric
  row["trainset"] = read_measure(rows, times, Measure(f"trainset/{leaf}"))
  return row


def read_measure(
  rows: Sequence[JsonMapping], times: Sequence[JsonMapping], measure: Measure
) -> float:
  """Returns a measure of a run; NaN if the run has no value for it.

  Args:
    rows: of metrics.jsonl.
    times: of timing.jsonl. Seconds between its rows are interpolated.
    measure: which metric, and where on its curve.
  """
  curve = [(r["step"], r[measure.metric]) for r in rows if r.get(measure.metric) is not None]
  if not curve:
    return math.nan
  steps, values = np.array(curve, dtype=float).T
  if measure.at == "end":
    return float(values[-1])
  if measure.at == "area":
    width = steps[-1] - steps[0]
    return float(np.trapezoid(values, steps) / width if width else values[-1])
  places = steps
  if measure.at == "seconds":
    if not times:
      return math.nan
    known = [(0, 0.0), *((row["step"], row["seconds"]) for row in times)]
    places = np.interp(steps, *np.array(known, dtype=float).T)
  reached = np.flatnonzero(places <= measure.value)
  return float(values[reached[-1]]) if len(reached) else math.nan


def peak_memory(run: Run) -> float | None:
  """Returns a run's peak memory in bytes; None if it is unknown."""
  path = run.directory / COST_FILE
  return read_json(path).get("peak_memory_bytes") if path.is_file() else None


def _step_time(run: Run, batch_size: int) -> float | None:
  """Returns the median time of a training step in milliseconds, without evaluations."""
  timing = run.timing
  if "images_per_second" not in timing:
    return None
  return 1000 * batch_size / float(timing["images_per_second"].median())


def _same(found: object, asked: object) -> bool:
  # As in apply_overrides: tuples are lists in JSON, and a number may stand for a 1-tuple.
  asked = json.loads(json.dumps(asked))
  return found == asked or found == [asked]
