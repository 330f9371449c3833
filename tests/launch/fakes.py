"""What the launcher's tests execute in its workers instead of training. Spec overrides say what."""

import json
import os
import signal
import time
from pathlib import Path


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
