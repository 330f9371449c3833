"""One run of a sweep, as a launcher's worker executes it: train, and say what became of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError
from cnnlab.lab import wording
from cnnlab.lab.experiment import COST_FILE
from cnnlab.lab.plan import resolve, run_state
from cnnlab.runs.directory import record_failure, write_json
from cnnlab.runs.lease import LeasedError
from cnnlab.runs.loading import read_json_lines
from cnnlab.runs.table import declared_metrics, main_metric

EXECUTE_RUN = "cnnlab.lab.execute:execute_run"  # how a launcher names it to its workers


def execute_run(spec: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
  """Trains one run, or goes on with it, and returns its outcome; no error of the run gets out.

  Args:
    spec: `RunSpec.to_dict()`.
    report: called with (step, total steps) as the training proceeds.

  Returns:
    `status` (as in status.json, or `leased`: another process trains it), `reason` (empty where all is well), `result` (last metric, in words).
  """
  from cnnlab.train import Interrupted, train

  directory = Path(spec["directory"])
  try:
    held_before = _peak_memory()
    train(resolve(spec), directory, asked=spec["overrides"], progress=report)
  except (Interrupted, RunError) as error:
    # A RunError: the directory is another config's or process's, and nothing may be written there.
    status = "interrupted" if isinstance(error, Interrupted) else "refused"
    status = "leased" if isinstance(error, LeasedError) else status
    return {"status": status, "reason": str(error), "result": ""}
  except Exception as error:  # whatever stops one run must not stop the sweep
    traceback.print_exc()
    if not (directory / "config.json").exists():
      record_failure(directory, error)  # it never began; a run that did has recorded it itself
    reason = f"{type(error).__name__}: {error}"
    return {"status": run_state(directory), "reason": reason, "result": ""}
  _record_memory(directory, held_before)
  return {"status": run_state(directory), "reason": "", "result": _last_metric(directory)}


def _peak_memory() -> int:
  """Returns the most bytes that a device of this process has held so far; 0 where none tells."""
  import jax

  told = [device.memory_stats() or {} for device in jax.local_devices()]
  return max((stats.get("peak_bytes_in_use", 0) for stats in told), default=0)


def _record_memory(directory: Path, held_before: int) -> None:
  """Writes a run's peak memory, where it is known: a device keeps one peak for a whole process.

  A run that stays below what an earlier one in this process has held leaves no trace of itself.
  """
  peak = _peak_memory()
  path = directory / COST_FILE
  if peak > held_before and not path.exists():
    write_json(path, {"peak_memory_bytes": peak})


def _last_metric(directory: Path) -> str:
  rows = read_json_lines(directory / "metrics.jsonl")
  name, _ = main_metric(directory)
  last = next((row[name] for row in reversed(rows) if name in row), None)
  if last is None:
    return ""
  metric = wording.describe_metric(name, declared_metrics(directory))
  unit = f" {metric.unit}" if metric.unit else ""
  return f"{metric.name} {wording.number(last * metric.factor)}{unit}"
