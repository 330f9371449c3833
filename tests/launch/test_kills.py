"""A real sweep whose workers and launcher are killed at random: nothing finished is lost, no step done twice."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from cnnlab.lab.plan import run_state
from tests.launch import digits
from tests.launch.test_local import wait_gone

SCRIPT = """
import dataclasses, sys
from pathlib import Path
from rich.console import Console
from cnnlab.lab.plan import run_state
from cnnlab.launch.local import run_sweep
from tests.launch import digits
if __name__ == "__main__":
  root = Path(sys.argv[1])
  specs = [dataclasses.replace(s, state=run_state(Path(s.directory)))
           for s in digits.specs(root, "a", "b", "c")]
  result = run_sweep(specs, workers=2, console=Console(width=200), logs=root / "logs", restarts=9)
  sys.exit(result.exit_code)
"""
NAMES = ("a/seed0", "b/seed1", "c/seed2")


@pytest.fixture
def launch(tmp_path, project):
  """Starts the launcher; whatever is left of it at the end is killed."""
  script = tmp_path / "script.py"
  script.write_text(SCRIPT)
  started = []

  def start():
    command = [sys.executable, str(script), str(tmp_path / "runs")]
    environment = os.environ | {"PYTHONPATH": str(project)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started.append(subprocess.Popen(command, env=environment, cwd=project, **options))
    return started[-1]

  yield start
  for process in started:
    process.kill()
    process.communicate()


def descendants(pid):
  """Returns the training processes of a launcher: its children that hold a lease or will."""
  try:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
      found = [int(child) for child in file.read().split()]
  except OSError:
    return []
  return [p for p in found if b"spawn_main" in open(f"/proc/{p}/cmdline", "rb").read()]


def rows(root):
  return sum(p.read_text().count("\n") for p in root.glob("*/seed*/metrics.jsonl"))


def wait_for_rows(process, root, count):
  deadline = time.monotonic() + 60
  while rows(root) < count and process.poll() is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)


def finished(root):
  """Returns what the finished runs consist of, to the byte and the moment it was written."""
  done = [root / name for name in NAMES if run_state(root / name) == "done"]
  return {
    p: (p.stat().st_mtime_ns, p.read_bytes())
    for run in done
    for p in run.rglob("*")
    if p.is_file() and not p.name.startswith(".lease")
  }


def test_kills_at_random_lose_no_finished_run_and_repeat_no_step(launch, tmp_path):
  root = tmp_path / "runs"
  seed = time.time_ns()
  print(f"moments drawn with seed {seed}")
  draw = random.Random(seed)
  total = len(NAMES) * digits.STEPS // digits.LOG_EVERY
  worker_at, launcher_at = sorted(draw.sample(range(2, total - 4), 2))

  first = launch()
  wait_for_rows(first, root, worker_at)
  victims = descendants(first.pid)
  if victims:
    os.kill(draw.choice(victims), signal.SIGKILL)
  wait_for_rows(first, root, launcher_at)
  workers = descendants(first.pid)
  first.kill()
  for pid in workers:  # at once, so that none can save
    if draw.random() < 0.7:
      os.kill(pid, signal.SIGKILL)
  first.wait()
  wait_gone(workers)
  before = finished(root)

  second = launch()
  output, _ = second.communicate(timeout=90)
  assert second.returncode == 0, output
  for name in NAMES:
    digits.assert_complete(root / name)
  assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
