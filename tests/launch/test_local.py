import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from cnnlab.errors import ConfigError
from cnnlab.lab.plan import RunSpec
from cnnlab.launch.hardware import shares
from cnnlab.launch.interrupts import held_back
from cnnlab.launch.local import run_sweep

FAKE = "tests.launch.fakes:execute"
ROOT = Path(__file__).resolve().parents[2]


def specs_in(root, **runs):
  return [
    RunSpec(
      f"{label}/seed0", label, 0, str(root / label), "page.py", want, want.pop("state", "absent")
    )
    for label, want in runs.items()
  ]


def sweep(specs, **options):
  text = io.StringIO()
  result = run_sweep(specs, FAKE, console=Console(file=text, width=200), **options)
  return result, text.getvalue()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
  """One sweep with a bit of everything: its directory, result and output."""
  root = tmp_path_factory.mktemp("mixed")
  specs = specs_in(
    root,
    fine={},
    broken={"raises": True},
    killed_once={"dies_at": 2},
    done={"state": "done"},
    other={"state": "other config"},
    damaged={"state": "damaged"},
    half={"state": "interrupted", "steps": 5},
    last={},
  )
  (root / "half").mkdir()
  (root / "half" / "count").write_text("3")
  result, text = sweep(specs, workers=2, logs=root / "logs", restarts=1)
  return root, result, text


def test_finished_runs_are_skipped_and_the_others_executed(mixed):
  root, result, text = mixed
  assert not (root / "done").exists()
  assert result.outcomes["done/seed0"].status == "done"
  assert result.outcomes["fine/seed0"].status == "done"
  assert result.outcomes["last/seed0"].result == "all well"
  assert "fine/seed0  all well" in text


def test_interrupted_run_is_resumed(mixed):
  root, result, _ = mixed
  assert result.outcomes["half/seed0"].status == "done"
  assert (root / "half" / "sessions").read_text().split()[1] == "3"


def test_failed_run_is_recorded_and_the_rest_go_on(mixed):
  _, result, text = mixed
  broken = result.outcomes["broken/seed0"]
  assert broken.status == "failed"
  assert "wrong on purpose" in broken.reason
  assert "wrong on purpose" in text
  assert result.exit_code == 1
  assert not result.interrupted


def test_directory_of_another_config_is_refused(mixed):
  root, result, text = mixed
  assert result.outcomes["other/seed0"].status == "refused"
  assert "other config" not in {p.name for p in root.iterdir()}
  assert not (root / "other").exists()
  assert "made from another config" in text


def test_a_damaged_directory_is_refused_and_the_rest_go_on(mixed):
  root, result, text = mixed
  refused = result.outcomes["damaged/seed0"]
  assert (refused.status, "damaged" in refused.reason) == ("refused", True)
  assert f"move {root / 'damaged'} away" in text
  assert not (root / "damaged").exists()


def test_run_of_a_killed_worker_goes_on_in_a_new_one(mixed):
  root, result, text = mixed
  assert result.outcomes["killed_once/seed0"].status == "done"
  sessions = [line.split() for line in (root / "killed_once" / "sessions").read_text().splitlines()]
  assert [step for _, step in sessions] == ["0", "2"]
  assert sessions[0][0] != sessions[1][0]
  assert "SIGKILL" in text


def test_prints_of_a_run_go_to_its_log(mixed):
  root, _, text = mixed
  assert "cores" in (root / "logs" / "fine.seed0.log").read_text()
  assert "cores [" not in text


def test_workers_have_cores_of_their_own(mixed):
  root, _, _ = mixed
  parts = shares(2, 8, gpus=[])
  used = json.loads((root / "fine" / "done.json").read_text())["cores"]
  assert used in [sorted(part.cores) for part in parts]


def test_a_run_that_always_kills_its_worker_fails(tmp_path):
  specs = specs_in(tmp_path, bad={"dies_at": 1, "forgets": True}, again={})
  result, _ = sweep(specs, workers=1, restarts=1)
  assert result.outcomes["bad/seed0"].status == "failed"
  assert "died 2 times" in result.outcomes["bad/seed0"].reason
  assert "SIGKILL" in json.loads((tmp_path / "bad" / "status.json").read_text())["reason"]
  assert result.outcomes["again/seed0"].status == "done"


SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from tests.launch.test_local import FAKE, specs_in
from cnnlab.launch.local import run_sweep
if __name__ == "__main__":
  want = {"steps": 4000, "pause": 0.05}
  specs = specs_in(Path(sys.argv[1]), a=dict(want), b=dict(want), c=dict(want))
  sys.exit(run_sweep(specs, FAKE, workers=2, console=Console(width=200)).exit_code)
"""


def counts(root):
  return {p.parent.name: int(p.read_text() or 0) for p in root.glob("*/count")}


def start_and_wait(root):
  script = root / "script.py"
  script.write_text(SCRIPT)
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  command = [sys.executable, str(script), str(root)]
  process = subprocess.Popen(
    command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
  )
  deadline = time.monotonic() + 60
  while len(counts(root)) < 2:
    assert time.monotonic() < deadline, "the workers did not start"
    time.sleep(0.05)
  return process


def worker_pids(root):
  return [int(p.read_text().split()[0]) for p in root.glob("*/sessions")]


def wait_gone(pids):
  deadline = time.monotonic() + 20
  while any(alive(pid) for pid in pids):
    assert time.monotonic() < deadline, "a worker outlived the launcher"
    time.sleep(0.05)


def alive(pid):
  from cnnlab.runs.status import process_lives

  return process_lives(pid)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_stops_the_workers_and_says_how_to_go_on(tmp_path, name):
  process = start_and_wait(tmp_path)
  pids = worker_pids(tmp_path)
  process.send_signal(getattr(signal, name))
  output, _ = process.communicate(timeout=120)
  assert process.returncode == 130
  assert "Run the same command to resume" in output
  assert output.count("interrupted") == 2
  assert not (tmp_path / "c").exists()
  wait_gone(pids)


def test_workers_end_when_the_launcher_is_killed(tmp_path):
  process = start_and_wait(tmp_path)
  pids = worker_pids(tmp_path)
  process.kill()
  process.communicate(timeout=60)
  wait_gone(pids)
  assert max(counts(tmp_path).values()) < 4000


def test_progress_reaches_nobody_when_the_launcher_is_gone():
  """The run goes on until the step at which its worker, which sees the death, has it saved."""
  from multiprocessing import Pipe

  from cnnlab.launch.worker import _Reporter

  ours, theirs = Pipe()
  ours.close()
  _Reporter(theirs)(1, 1)


def test_a_process_that_starts_while_signals_are_held_back_hears_them_when_it_is_ready():
  code = (
    "import signal, sys\n"
    "from cnnlab.launch.interrupts import let_through\n"
    "print('started', flush=True); sys.stdin.read(1)\n"
    "try:\n  let_through()\nexcept KeyboardInterrupt:\n  print('heard')\n"
  )
  with held_back():
    process = subprocess.Popen(
      [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
  assert process.stdout.readline() == b"started\n"
  process.send_signal(signal.SIGINT)
  output, _ = process.communicate(b"x", timeout=60)
  assert (process.returncode, output) == (0, b"heard\n")


def test_a_run_that_resumes_alone_gets_no_more_cores_than_before(tmp_path):
  specs = specs_in(tmp_path, a={}, b={"state": "done"})
  result, _ = sweep(specs, workers=2)
  assert result.exit_code == 0
  used = json.loads((tmp_path / "a" / "done.json").read_text())["cores"]
  assert len(used) == max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"workers": 0}, "workers is 0; allowed: 1 to"),
    ({"workers": 5000}, "workers is 5000; allowed: 1 to"),
    ({"together": -1}, "option together of launcher 'local' is -1; allowed: 1 to"),
  ],
)
def test_options_out_of_range_start_nothing(tmp_path, options, message):
  with pytest.raises(ConfigError, match=message):
    sweep(specs_in(tmp_path, a={}), **options)


def test_shares_split_the_cores_and_gpus():
  two = shares(None, 12, cores=[0, 1], gpus=[])
  assert [part.cores for part in two] == [(0,), (1,)]
  assert two[0].environment["OMP_NUM_THREADS"] == "1"
  wide = shares(3, 12, cores=list(range(8)), gpus=[])
  # As many each, or a run's last digits would depend on the worker that it came to.
  assert [part.cores for part in wide] == [(0, 1), (2, 3), (4, 5)]
  assert len(shares(None, 1, cores=[0, 1, 2, 3], gpus=[])) == 1
  gpus = shares(None, 12, cores=list(range(8)), gpus=["0", "3"])
  assert [part.environment["CUDA_VISIBLE_DEVICES"] for part in gpus] == ["0", "3"]
  assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in gpus[0].environment
  shared = shares(4, 12, cores=list(range(8)), gpus=["0"])
  assert {part.environment["CUDA_VISIBLE_DEVICES"] for part in shared} == {"0"}
  assert shared[0].environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.225"
  assert len(shares(4, 12, cores=[5], gpus=[])) == 4
