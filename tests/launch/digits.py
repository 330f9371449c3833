"""A real sweep on the embedded digits, for tests that kill what trains it."""

import json

from cnnlab.lab.plan import RunSpec

PAGE = "configs/digits.py:tiny"
STEPS, LOG_EVERY, SAVE_EVERY = 200, 10, 20


def specs(root, *names):
  """Returns the plan: a run a name, of 200 steps with a checkpoint every 20."""
  overrides = {
    "max_steps": STEPS,
    "log_every_steps": LOG_EVERY,
    "checkpoint_every_steps": SAVE_EVERY,
    "checkpoint_every_epochs": 0.0,
    "eval_every_epochs": 0.0,
  }
  return [
    RunSpec(f"{n}/seed{i}", n, i, str(root / n / f"seed{i}"), PAGE, overrides | {"seed": i})
    for i, n in enumerate(names)
  ]


def checkpointed(directory):
  """Returns the names of the runs below a sweep that have a finished checkpoint."""
  found = directory.glob("*/seed*/checkpoints/*")
  return {p.parents[2].name for p in found if p.name.isdecimal()}


def assert_complete(directory):
  """Asserts that a run is done and that its metrics hold every logged step once, in order."""
  assert json.loads((directory / "status.json").read_text())["status"] == "done"
  rows = [json.loads(line)["step"] for line in (directory / "metrics.jsonl").open()]
  assert rows == list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
