"""A sweep's runs as one table, with a row for every run that is requested or exists."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd

from cnnlab.errors import RunError
from cnnlab.lab.experiment import COST_FILE, FILE, Experiment, read_experiment
from cnnlab.lab.plan import REFUSED
from cnnlab.lab.variants import Overrides
from cnnlab.runs.directory import PLACES, read_json
from cnnlab.runs.lease import is_leased
from cnnlab.runs.loading import Run, is_run, read_json_lines
from cnnlab.runs.status import effective_status
from cnnlab.runs.table import flat_config
from cnnlab.types import Json

COLUMNS = (
  "variant", "seed", "status", "step", "total_steps", "value", "best", "parameters",
  "multiply_adds", "seconds", "ms_per_step", "peak_memory", "directory", "reason",
)  # fmt: skip


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
  the variant's overrides), `step`, `total_steps`, `value` (the experiment's metric at the last
  evaluation, only for runs that are done), `best` (over all evaluations), `parameters`,
  `multiply_adds` (one image, forward), `seconds` (of training), `ms_per_step` (median),
  `peak_memory` (bytes, if the device reports it), `directory`, `reason`; and one column for each
  other metric that a claim is about, measured like `value`.

  Raises:
    RunError: the directory is not a sweep.
  """
  top = Path(directory)
  experiment = experiment or read_experiment(top)
  rows = []
  shared = {k: v for k, v in experiment.overrides.items() if k not in PLACES}
  for label, overrides in experiment.variants.items():
    found = {
      int(m[1]) for p in top.glob(f"{label}/seed*") if (m := re.fullmatch(r"seed(\d+)", p.name))
    }
    for seed in sorted(found | set(experiment.seeds)):
      run = top / label / f"seed{seed}"
      expected = {**shared, **overrides, "seed": seed}
      row = {"variant": label, "seed": seed, "directory": f"{label}/seed{seed}"}
      rows.append(row | _read(run, expected, experiment))
  return pd.DataFrame(rows, columns=[*COLUMNS, *_further_metrics(experiment)])


def _further_metrics(experiment: Experiment) -> list[str]:
  claimed = dict.fromkeys(claim.metric for claim in experiment.claims)
  return [name for name in claimed if name and name not in (*COLUMNS, experiment.metric)]


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
  rows = read_json_lines(run.directory / "metrics.jsonl")
  for metric in (experiment.metric, *_further_metrics(experiment)):
    values = [line[metric] for line in rows if line.get(metric) is not None]
    main = metric == experiment.metric
    if values and main:
      row["best"] = min(values) if experiment.better(metric) == "min" else max(values)
    # An unfinished run does not show what its variant reaches.
    if values and row["status"] == "done":
      row["value" if main else metric] = values[-1]
  return row


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
