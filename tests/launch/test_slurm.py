"""The SLURM launcher with submitit's local and debug executors, and with stand-ins for SLURM's commands."""

import io
import json
import os
import shlex
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from cnnlab.errors import ConfigError, RunError
from cnnlab.launch.slurm import SETTINGS, run_sweep
from tests.launch import digits
from tests.launch.test_local import specs_in
from tests.waiting import wait_until

pytest.importorskip("submitit")
FAKE = "tests.launch.fakes:execute"

# sbatch keeps the script, and runs each task of the array as SLURM would.
SBATCH = """
import os, re, subprocess, sys
from pathlib import Path
text = Path(sys.argv[1]).read_text()
log = Path(os.environ["FAKE_SLURM"])
script = log / f"sbatch{len(list(log.glob('sbatch*')))}"
script.write_text(text)  # submitit renames its own
array = re.search(r"--array=0-(\\d+)", text)
for task in range(int(array[1]) + 1 if array else 1):
  ids = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
  if array:
    ids |= {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
  subprocess.Popen(["bash", str(script)], env=os.environ | ids, **quiet)
print("Submitted batch job 77")
"""
SRUN = """
import os, sys
command = sys.argv[1:]
command = command[command.index(next(a for a in command if "python" in a)):]
os.execvp(command[0], command)
"""


@pytest.fixture
def commands(tmp_path, monkeypatch, project):
  """Stand-ins for SLURM's commands in front of PATH; the folder where sbatch keeps its scripts."""
  folder = tmp_path / "bin"
  folder.mkdir()
  for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": "", "scancel": ""}.items():
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
  monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
  monkeypatch.chdir(project)
  return tmp_path


def sweep(specs, root, execute=FAKE, workers=None, **settings):
  text = io.StringIO()
  console = Console(file=text, width=200)
  options = {"console": console, "logs": root / "all_cnn" / "logs", "workers": workers}
  settings = {"cluster": "local"} | {k: str(v) for k, v in settings.items()}
  return run_sweep(specs, execute, settings=settings, **options), text.getvalue()


def test_script_of_the_array_and_its_results(commands):
  specs = specs_in(commands, a={}, b={}, broken={"raises": True})
  wanted = {"partition": "gpu", "account": "vision", "time": 90, "cpus": 8, "gpus": 1}
  wanted |= {"memory_gb": 24, "signal_delay": 60, "setup": "module load cuda"}
  result, text = sweep(specs, commands, workers=2, cluster="slurm", **wanted)
  script = (commands / "sbatch0").read_text()
  for line in (
    "--array=0-2%2",
    "--partition=gpu",
    "--account=vision",
    "--time=90",
    "--cpus-per-task=8",
    "--gpus-per-node=1",
    "--mem=24GB",
    "--signal=USR2@60",
    "--requeue",
    "--open-mode=append",
    "--job-name=cnnlab-all_cnn",
  ):
    assert f"#SBATCH {line}\n" in script, script
  assert "module load cuda\n" in script
  assert "srun" in script
  statuses = {name.split("/")[0]: o.status for name, o in result.outcomes.items()}
  assert statuses == {"a": "done", "b": "done", "broken": "failed"}
  assert "wrong on purpose" in text
  log = commands / "all_cnn" / "logs" / "a.seed0.log"
  assert "cores" in log.read_text()


def test_submitting_without_waiting(commands):
  specs = specs_in(commands, a={}, b={"state": "done"})
  result, text = sweep(specs, commands, cluster="slurm", wait="no")
  assert (result.outcomes["a/seed0"].status, result.outcomes["a/seed0"].reason) == (
    "submitted",
    "job 77",
  )
  assert result.exit_code == 0
  assert "1 runs submitted" in text
  assert "--array" not in (commands / "sbatch0").read_text()
  wait_until((commands / "a" / "done.json").exists)


def test_texts_reach_sbatch_as_they_are_and_nothing_is_executed(commands):
  hostile = f'it\'s "$(touch {commands}/x)" `touch {commands}/x` ; touch {commands}/x'
  root = commands / hostile.replace("/", "")
  run_sweep(
    specs_in(root, a={}),
    FAKE,
    console=Console(file=io.StringIO()),
    logs=root / "logs",
    settings={"partition": hostile, "wait": "no"},
  )
  lines = (commands / "sbatch0").read_text().splitlines()
  given = [shlex.split(line.removeprefix("#SBATCH ")) for line in lines if "#SBATCH" in line]
  assert [f"--partition={hostile}"] in given
  assert [f"--output={root}/logs/slurm/%j_0_log.out"] in given
  wait_until((root / "a" / "done.json").exists)
  assert not (commands / "x").exists()


@pytest.mark.parametrize("name", ["a\ntouch x", "100%j"])
def test_a_folder_that_no_script_can_name_is_refused(commands, name):
  with pytest.raises(RunError, match="cannot be SLURM's folder of logs"):
    run_sweep(specs_in(commands, a={}), FAKE, logs=commands / name, settings={"wait": "no"})
  assert not (commands / "sbatch0").exists()


def children(pid):
  return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_preempted_job_is_saved_queued_again_and_goes_on(tmp_path, project, monkeypatch):
  """SIGUSR2 is what submitit has SLURM send before the time limit and on preemption."""
  monkeypatch.chdir(project)
  (spec,) = digits.specs(tmp_path, "a")

  def preempt():
    wait_until(lambda: digits.checkpointed(tmp_path))
    submitted = tmp_path / "all_cnn" / "logs" / "slurm"
    (controller,) = {p.name.split("_")[0] for p in submitted.glob("*_submitted.pkl")}
    (job,) = children(controller)
    os.kill(job, signal.SIGUSR2)

  thread = threading.Thread(target=preempt)
  thread.start()
  result, text = sweep([spec], tmp_path, "cnnlab.lab.execute:execute_run", time=5)
  thread.join()
  assert result.exit_code == 0, text
  assert "a/seed0  test error" in text
  log = (tmp_path / "all_cnn" / "logs" / "a.seed0.log").read_text()
  assert log.count("resuming ") == 1
  digits.assert_complete(Path(spec.directory))


def test_a_job_whose_training_dies_is_submitted_again(tmp_path, project, monkeypatch):
  """With the debug executor, which runs jobs one after the other in this process."""
  monkeypatch.chdir(project)
  runs = {"bad": {"dies_at": 1, "forgets": True}, "once": {"dies_at": 2}}
  result, text = sweep(specs_in(tmp_path, **runs), tmp_path, cluster="debug", requeues=1)
  assert result.outcomes["once/seed0"].status == "done"
  assert result.outcomes["bad/seed0"].status == "failed"
  reason = json.loads((tmp_path / "bad" / "status.json").read_text())["reason"]
  assert "its job died 2 times, the last time by exit code -9" in reason
  assert "the run resumes in a new one" in text


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", "/nowhere")
  with pytest.raises(RunError, match="no SLURM on this machine"):
    sweep(specs_in(tmp_path, a={}), tmp_path, cluster="slurm")


def test_wrong_settings(tmp_path):
  specs = specs_in(tmp_path, a={})
  for settings, message in (
    ({"partitoin": "gpu"}, "did you mean 'partition'"),
    ({"cluster": "pbs"}, "allowed are slurm, local, debug"),
    ({"wait": "maybe"}, "'maybe' is not yes or no"),
    ({"time": "1h"}, "'1h' is not a whole number"),
    ({"time": "0"}, "time of launcher 'slurm' is 0; allowed: 1 to"),
    ({"partition": "a\ntouch x"}, "allowed: text without control characters"),
  ):
    with pytest.raises(ConfigError, match=message):
      run_sweep(specs, FAKE, settings=settings)
  assert SETTINGS["cluster"] == "slurm"
