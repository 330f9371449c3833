"""Two launchers on one root: no run is trained twice, and what one drops the other picks up."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from cnnlab.launch.display import SweepDisplay
from cnnlab.launch.outcome import SweepResult
from cnnlab.launch.queue import Queue
from cnnlab.runs.directory import RunDirectory
from tests.launch.test_local import specs_in, wait_gone

SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from tests.launch.test_local import specs_in
from cnnlab.launch.local import run_sweep
if __name__ == "__main__":
  want = {"steps": 8, "gate": sys.argv[2]}
  runs = {name: dict(want) for name in sys.argv[3:]}
  console = Console(width=200)
  fake = "tests.launch.fakes:execute_in_run_directory"
  sys.exit(run_sweep(specs_in(Path(sys.argv[1]), **runs), fake, workers=1, console=console).exit_code)
"""


@pytest.fixture
def launch(tmp_path, project):
  """Starts launchers on one root; kills what is left of them."""
  script = tmp_path / "script.py"
  script.write_text(SCRIPT)
  started = []

  def start(*names):
    command = [sys.executable, str(script), str(tmp_path / "runs"), str(tmp_path / "gate"), *names]
    environment = os.environ | {"PYTHONPATH": str(project)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    started.append(process)
    return process

  yield start
  for process in started:
    if process.poll() is None:
      process.kill()
      process.communicate()


def rows(root, name):
  path = root / "runs" / name / "metrics.jsonl"
  return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def sessions(root, name):
  return (root / "runs" / name / "sessions").read_text().splitlines()


def wait_for(path):
  deadline = time.monotonic() + 30
  while not path.exists():
    assert time.monotonic() < deadline, f"{path.name} did not appear"
    time.sleep(0.02)


def test_each_run_is_trained_once(launch, tmp_path):
  names = ("a", "b", "c", "d")
  (tmp_path / "gate").touch()
  launchers = [launch(*names), launch(*names)]
  output = [process.communicate(timeout=120)[0] for process in launchers]
  assert [process.returncode for process in launchers] == [0, 0], output
  for name in names:
    assert len(sessions(tmp_path, name)) == 1
    assert rows(tmp_path, name) == list(range(1, 9))
  assert sum(text.count("all well") for text in output) == 4
  assert sum(text.count("by another launcher") for text in output) == 4


def test_run_of_a_launcher_that_is_killed_is_taken_over(launch, tmp_path):
  first = launch("a")
  wait_for(tmp_path / "runs" / "a" / "metrics.jsonl")
  second = launch("a", "b")
  wait_for(tmp_path / "runs" / "b" / "metrics.jsonl")  # it has left `a` to the first
  worker = int(sessions(tmp_path, "a")[0].split()[0])
  first.kill()
  os.kill(worker, signal.SIGKILL)  # else it would see its launcher's death and save
  wait_gone([worker])
  (tmp_path / "gate").touch()
  output, _ = second.communicate(timeout=120)
  assert second.returncode == 0, output
  begun = [int(line.split()[1]) for line in sessions(tmp_path, "a")]
  assert len(begun) == 2
  assert 0 == begun[0] < begun[1] < 8
  assert rows(tmp_path, "a") == list(range(1, 9))
  assert "a/seed0 has no owner any more; resuming it here" in output


@pytest.fixture
def queue(tmp_path):
  """A queue of runs `a` and `b`, with what it says and the result it fills."""
  text = io.StringIO()
  console = Console(file=text, width=200)
  result = SweepResult()
  specs = specs_in(tmp_path, a={}, b={})
  return Queue(specs, result, SweepDisplay(console, 2, 0, "test")), result, text


def test_queue_leaves_what_others_train_and_takes_in_its_end(queue, tmp_path, monkeypatch):
  monkeypatch.setattr("cnnlab.launch.queue.LOOK_EVERY", 0.0)
  queue, result, text = queue
  other = RunDirectory(tmp_path / "a", {"seed": 0})
  other.set_status("running", total_steps=5)
  b = queue.take()
  assert b.label == "b"
  assert queue.take() is None
  assert queue.open
  assert f"a/seed0 is being trained by process {os.getpid()}" in text.getvalue()
  other.set_status("done")
  other.close()
  assert queue.take() is None
  assert not queue.open
  assert (result.outcomes["a/seed0"].status, result.interrupted) == ("done", False)
  queue.end(b, {"status": "leased"})  # another launcher took it first, and saved at Ctrl-C
  RunDirectory(tmp_path / "b", {"seed": 0}).close()
  assert queue.take().label == "b"
  queue.end(b, {"status": "failed", "reason": "wrong on purpose"})
  assert result.outcomes["b/seed0"].reason == "wrong on purpose"


def test_queue_that_is_closed_says_what_became_of_the_rest(queue, tmp_path):
  queue, result, _ = queue
  other = RunDirectory(tmp_path / "a", {"seed": 0})
  queue.end(queue.take(), {"status": "interrupted"})
  queue.close()
  other.close()
  assert {o.name: o.status for o in result.outcomes.values()} == {
    "a/seed0": "running",
    "b/seed0": "interrupted",
  }
  assert result.exit_code == 130
