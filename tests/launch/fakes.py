"""What the launcher's tests execute in its workers instead of training. Spec overrides say what."""

import json
import os
import signal
import time
from pathlib import Path

from cnnlab.runs.directory import RunDirectory
from cnnlab.runs.lease import LeasedError


def execute(spec, report):
  """Counts to `steps`, keeping the count in a file as a run keeps its checkpoints."""
  want = spec["overrides"]
  directory = Path(spec["directory"])
  directory.mkdir(parents=True, exist_ok=True)
  count = directory / "count"
  if want.get("raises"):
    raise ValueError("wrong on purpose")
  step = int(count.read_text()) if count.exists() and not want.get("forgets") else 0
  with (directory / "sessions").open("a") as file:
    file.write(f"{os.getpid()} {step}\n")
  try:
    while step < want.get("steps", 3):
      step += 1
      count.write_text(str(step))
      report(step, want.get("steps", 3))
      if step == want.get("dies_at"):
        os.kill(os.getpid(), signal.SIGKILL)
      time.sleep(want.get("pause", 0))
  except KeyboardInterrupt:
    return {"status": "interrupted"}
  print("cores", sorted(os.sched_getaffinity(0)))
  (directory / "done.json").write_text(json.dumps({"cores": sorted(os.sched_getaffinity(0))}))
  return {"status": "done", "result": "all well"}


def execute_in_run_directory(spec, report):
  """Does the same in a real run directory: with a lease, status and a metrics line a step."""
  want = spec["overrides"]
  try:
    run = RunDirectory(spec["directory"], {"seed": spec["seed"]})
  except LeasedError as error:
    return {"status": "leased", "reason": str(error)}
  first = run.last_row().get("step", 0)
  with (run.path / "sessions").open("a") as file:
    file.write(f"{os.getpid()} {first}\n")
  run.set_status("running", step=first, total_steps=want["steps"])
  try:
    for step in range(first + 1, want["steps"] + 1):
      while step > 3 and "gate" in want and not Path(want["gate"]).exists():
        time.sleep(0.01)
      run.append("metrics", {"step": step})
      run.set_status("running", step=step)
      report(step, want["steps"])
  except KeyboardInterrupt:
    run.set_status("interrupted")
    return {"status": "interrupted"}
  else:
    run.set_status("done")
    return {"status": "done", "result": "all well"}
  finally:
    run.close()
