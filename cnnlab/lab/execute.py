"""One run of a sweep, as a launcher's worker executes it: train, and say what became of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError
from cnnlab.lab import wording
from cnnlab.lab.plan import resolve, run_state
from cnnlab.runs.directory import record_failure
from cnnlab.runs.loading import read_json_lines
from cnnlab.runs.table import main_metric

EXECUTE_RUN = "cnnlab.lab.execute:execute_run"  # how a launcher names it to its workers


def execute_run(spec: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
  """Trains one run, or goes on with it, and returns its outcome; no error of the run gets out.

  Args:
    spec: `RunSpec.to_dict()`.
    report: called with (step, total steps) as the training proceeds.

  Returns:
    `status` (as in status.json), `reason` (empty where all is well), `result` (last metric, in words).
  """
  from cnnlab.train import Interrupted, train

  directory = Path(spec["directory"])
  try:
    train(resolve(spec), directory, asked=spec["overrides"], progress=report)
  except (Interrupted, RunError) as error:
    # A RunError: the directory is another config's or process's, and nothing may be written there.
    status = "interrupted" if isinstance(error, Interrupted) else "refused"
    return {"status": status, "reason": str(error), "result": ""}
  except Exception as error:  # whatever stops one run must not stop the sweep
    traceback.print_exc()
    if not (directory / "config.json").exists():
      record_failure(directory, error)  # it never began; a run that did has recorded it itself
    reason = f"{type(error).__name__}: {error}"
    return {"status": run_state(directory), "reason": reason, "result": ""}
  return {"status": run_state(directory), "reason": "", "result": _last_metric(directory)}


def _last_metric(directory: Path) -> str:
  rows = read_json_lines(directory / "metrics.jsonl")
  name, _ = main_metric(directory)
  last = next((row[name] for row in reversed(rows) if name in row), None)
  if last is None:
    return ""
  metric = wording.describe_metric(name)
  unit = f" {metric.unit}" if metric.unit else ""
  return f"{metric.name} {wording.number(last * metric.factor)}{unit}"
