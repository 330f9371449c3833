"""Executes runs of a sweep in a launcher's worker: trains them and returns their outcomes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.lab.cost import remember_compiled
from cnnlab.lab.experiment import COST_FILE
from cnnlab.lab.plan import resolve, run_state
from cnnlab.lab.report import wording
from cnnlab.runs.directory import record_failure, write_json
from cnnlab.runs.files import CannotWriteError
from cnnlab.runs.lease import LeasedError
from cnnlab.runs.loading import read_json_lines
from cnnlab.runs.table import main_metric
from cnnlab.types import JsonMapping

EXECUTE_RUN = "cnnlab.lab.execute:execute_run"  # where launchers' workers import it from


def execute_run(spec: JsonMapping, report: Callable[[int, int], None]) -> dict[str, str]:
  """Trains or resumes one run and returns its outcome; errors of the run are not raised.

  Args:
    spec: `RunSpec.to_dict()`.
    report: called with (step, total steps) as the training proceeds.

  Returns:
    `status`: as in status.json, `leased` (another process is training it) or `refused` (the
    directory cannot be used); `reason`: empty if all is well; `result`: the last metric, as text.
  """
  from cnnlab.train import train

  directory = Path(spec["directory"])
  try:
    peak_before = _peak_memory()
    train(resolve(spec), directory, asked=spec["overrides"], progress=report)
  except Exception as error:  # an error in one run must not stop the sweep
    return _outcome(directory, error)
  _record_memory(directory, peak_before)
  remember_compiled(spec)
  return _outcome(directory, None)


def execute_together(
  specs: Sequence[JsonMapping], report: Callable[[int, int], None]
) -> dict[str, dict[str, str]]:
  """Trains or resumes runs as one compiled program and returns the outcome of each by its name.

  Args:
    specs: `RunSpec.to_dict()` of runs that `cnnlab.lab.plan.groups` puts in one group.
    report: called with (step, total steps) of the run that is furthest behind.
  """
  from cnnlab.train.together import Run, train_together

  runs = [Run(resolve(s), Path(s["directory"]), tuple(s["overrides"])) for s in specs]
  errors = train_together(runs, report)
  return {
    spec["name"]: _outcome(run.directory, error)
    for spec, run, error in zip(specs, runs, errors, strict=True)
  }


def _outcome(directory: Path, error: Exception | None) -> dict[str, str]:
  """Returns the outcome of a run that is done, or that an error ended."""
  from cnnlab.train import Interrupted

  if error is None:
    return {"status": run_state(directory), "reason": "", "result": _last_metric(directory)}
  if isinstance(error, CannotWriteError):  # training has recorded it, if there was room
    return {"status": "failed", "reason": str(error), "result": ""}
  if isinstance(error, (Interrupted, RunError)):
    # A RunError means that the directory belongs to another config or process: write nothing there.
    status = "interrupted" if isinstance(error, Interrupted) else "refused"
    status = "leased" if isinstance(error, LeasedError) else status
    return {"status": status, "reason": str(error), "result": ""}
  traceback.print_exception(error)
  if not (directory / "config.json").exists():
    # The run never started; otherwise training has recorded the error.
    record_failure(directory, error)
  reason = f"{type(error).__name__}: {error}"
  return {"status": run_state(directory), "reason": reason, "result": ""}


def _peak_memory() -> int:
  """Returns the peak memory of this process's devices in bytes; 0 if no device reports it."""
  import jax

  reported = [device.memory_stats() or {} for device in jax.local_devices()]
  return max((stats.get("peak_bytes_in_use", 0) for stats in reported), default=0)


def _record_memory(directory: Path, peak_before: int) -> None:
  """Writes a run's peak memory, if it is known.

  A device keeps one peak for the whole process, so the peak of a run is unknown if an earlier run
  in this process used more.
  """
  peak = _peak_memory()
  path = directory / COST_FILE
  if peak > peak_before and not path.exists():
    write_json(path, {"peak_memory_bytes": peak})


def _last_metric(directory: Path) -> str:
  rows = read_json_lines(directory / "metrics.jsonl")
  name, _ = main_metric(directory)
  last = next((row[name] for row in reversed(rows) if name in row), None)
  if last is None:
    return ""
  metric = wording.describe_metrics_of(directory)(name)
  unit = f" {metric.unit}" if metric.unit else ""
  return f"{metric.name} {wording.number(last * metric.factor)}{unit}"
