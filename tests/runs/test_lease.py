"""One owner at a time, whoever comes, however the one before went: with real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cnnlab.runs import lease
from cnnlab.runs.directory import RunDirectory, record_failure
from cnnlab.runs.lease import EXPIRES, Lease, LeasedError, is_leased, leased_elsewhere, owner
from cnnlab.runs.status import effective_status
from tests.waiting import wait_until

HOLD = """
import sys, time
from cnnlab.runs.lease import Lease
held = Lease(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""

# In every round twelve processes find the same dead owner and rush for its place.
RACE = """
import os, sys, time
from pathlib import Path
from cnnlab.runs.lease import Lease, LeasedError
root = Path(sys.argv[1])
def contend(folder, number, start):
  time.sleep(max(0, start - time.time()))
  try:
    Lease(folder)
  except LeasedError:
    os._exit(0)
  (folder / f"winner{number}").touch()
  time.sleep(20)
  os._exit(0)
for number in range(15):
  folder = root / str(number)
  folder.mkdir()
  if number % 3:  # else nobody ever held it
    child = os.fork()
    if not child:
      Lease(folder)
      os._exit(9)
    os.waitpid(child, 0)
  start = time.time() + 0.05
  children = []
  for contender in range(12):
    child = os.fork()
    if not child:
      contend(folder, contender, start)
    children.append(child)
  ended = {os.wait()[0] for _ in children[1:]}  # all but the winner
  deadline = time.time() + 5
  while not list(folder.glob("winner*")) and time.time() < deadline:
    time.sleep(0.01)
  for child in set(children) - ended:
    os.kill(child, 9)
    os.waitpid(child, 0)
"""


@pytest.fixture
def holder(tmp_path, project):
  """A process that holds the lease of `tmp_path / 'run'`."""
  (tmp_path / "run").mkdir()
  command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project)
  assert process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.communicate()


def elsewhere(directory, number=1, ago=0.0, machine="another boot, another container"):
  """Writes the lease of an owner that cannot be seen from here."""
  path = directory / f".lease.{number}"
  path.write_text(json.dumps({"host": "node7", "machine": machine, "pid": 1, "began": "5"}))
  os.utime(path, (time.time() - ago,) * 2)
  return path


def test_a_live_owner_keeps_it_and_a_killed_one_loses_it_at_once(holder, tmp_path):
  run = tmp_path / "run"
  with pytest.raises(LeasedError, match=f"process {holder.pid} on .* is training there"):
    Lease(run)
  assert (is_leased(run), leased_elsewhere(run)) == (True, True)
  holder.send_signal(signal.SIGSTOP)  # silent, but alive: its process can be seen
  os.utime(run / ".lease.1", (0, 0))
  assert is_leased(run)
  holder.kill()
  holder.wait()
  assert is_leased(run) is False
  taken = Lease(run)
  assert (is_leased(run), leased_elsewhere(run)) == (True, False)
  assert [p.name for p in run.iterdir()] == [".lease.2"]
  taken.release()
  assert is_leased(run) is False


def test_of_many_that_come_at_once_one_gets_it(tmp_path, project):
  subprocess.run([sys.executable, "-c", RACE, str(tmp_path)], check=True, cwd=project, timeout=60)
  winners = [len(list(folder.glob("winner*"))) for folder in tmp_path.iterdir()]
  assert winners == [1] * 15


def test_one_process_does_not_take_it_twice(tmp_path):
  held = Lease(tmp_path)
  with pytest.raises(LeasedError):
    Lease(tmp_path)
  held.release()
  Lease(tmp_path).release()


def test_an_owner_elsewhere_keeps_it_as_long_as_it_gives_signs_of_life(tmp_path):
  elsewhere(tmp_path, ago=EXPIRES - 20)
  assert is_leased(tmp_path)
  with pytest.raises(LeasedError, match="process 1 on node7"):
    Lease(tmp_path)
  assert sorted(p.name for p in tmp_path.iterdir()) == [".lease.1"]
  elsewhere(tmp_path, ago=EXPIRES + 20)
  assert is_leased(tmp_path) is False
  Lease(tmp_path).release()


def test_an_owner_presumed_dead_notices_before_it_writes(tmp_path):
  run = RunDirectory(tmp_path / "run", {"seed": 0})
  run.append("metrics", {"step": 1})
  elsewhere(run.path, number=2)
  for write in (
    lambda: run.append("metrics", {"step": 2}),
    lambda: run.set_status("running", step=2),
  ):
    with pytest.raises(LeasedError, match="another process has taken the run over"):
      write()
  record_failure(run.path, OSError("no such checkpoint"))
  run.close()
  assert (run.path / "metrics.jsonl").read_text() == '{"step": 1}\n'
  assert not (run.path / "status.json").exists()
  assert owner(run.path) == "process 1 on node7"


def test_a_process_number_that_is_used_again_is_no_owner(tmp_path):
  path = elsewhere(tmp_path, machine=lease._machine())
  path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": os.getppid()}))
  assert is_leased(tmp_path) is False


def test_a_lease_that_is_just_being_written_counts(tmp_path):
  (tmp_path / ".lease.4").touch()
  with pytest.raises(LeasedError):
    Lease(tmp_path)
  os.utime(tmp_path / ".lease.4", (0, 0))
  held = Lease(tmp_path)
  assert held.path.name == ".lease.5"
  held.release()


def test_the_owner_renews_it(tmp_path, monkeypatch):
  monkeypatch.setattr(lease, "RENEW", 0.02)
  held = Lease(tmp_path)
  os.utime(held.path, (0, 0))
  wait_until(lambda: held.path.stat().st_mtime >= 1, seconds=10)
  held.release()


def test_status_is_held_against_the_lease(tmp_path):
  assert is_leased(tmp_path) is None
  assert effective_status({"status": "running", "host": "node7", "pid": 1}) == "running"
  assert effective_status({"status": "running", "host": "node7", "pid": 1}, False) == "dead"
  assert effective_status({"status": "interrupted"}, True) == "running"
  assert effective_status({"status": "done"}, True) == "done"
  assert effective_status({"status": "failed"}, False) == "failed"
