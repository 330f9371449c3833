"""Sweeps whose runs share compiled programs: what is grouped, how it ends, and real training."""

import dataclasses
import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from cnnlab.errors import ConfigError
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import RunSpec, groups
from cnnlab.launch.local import run_sweep
from cnnlab.launch.sweep import Launcher, sweep
from tests.launch.digits import PAGE, assert_complete, checkpointed, specs

HERE = "tests.launch.test_together"


def spec(root, label, seed, **overrides):
  overrides = {key.replace("__", "."): value for key, value in overrides.items()}
  directory = str(root / label / f"seed{seed}")
  return RunSpec(f"{label}/seed{seed}", label, seed, directory, PAGE, overrides | {"seed": seed})


def mixed(root):
  """Two seeds of three variants of which two differ in the learning rate, and three odd ones."""
  runs = []
  for seed in (0, 1):
    runs.append(spec(root, "base", seed))
    runs.append(spec(root, "fast", seed, optim__learning_rate=0.2))
    runs.append(spec(root, "decay", seed, optim__weight_decay=0.0))
  runs.append(spec(root, "pmap", 0, parallel="pmap"))
  runs.append(spec(root, "stream", 0, data__placement="stream"))
  runs.append(spec(root, "batch", 0, batch_size=32))
  return runs


def execute(given, report):
  return {"status": "done", "result": f"alone in {os.getpid()}"}


def execute_together(given, report):
  """Records the group; the process of the first is killed, as if memory ran out."""
  directory = Path(given[0]["directory"])
  directory.mkdir(parents=True, exist_ok=True)
  if not (directory / "killed").exists():
    (directory / "killed").touch()
    os.kill(os.getpid(), signal.SIGKILL)
  report(3, 3)
  names = " ".join(one["name"] for one in given)
  return {one["name"]: {"status": "done", "result": f"with {names}"} for one in given}


def test_runs_that_differ_in_seed_or_learning_rate_alone_are_grouped(tmp_path):
  found, alone = groups(mixed(tmp_path))
  assert [[one.name for one in group] for group in found] == [
    ["base/seed0", "fast/seed0", "base/seed1", "fast/seed1"],
    ["decay/seed0", "decay/seed1"],
    ["pmap/seed0"],
    ["stream/seed0"],
    ["batch/seed0"],
  ]
  assert alone == {
    "pmap/seed0": "parallel is 'pmap'",
    "stream/seed0": "data.placement is 'stream'",
    "batch/seed0": "no other run differs from it in seed and optim.learning_rate alone",
  }


def test_a_group_whose_worker_is_killed_is_tried_again_as_a_group(tmp_path):
  text = io.StringIO()
  result = run_sweep(
    mixed(tmp_path),
    f"{HERE}:execute",
    together=3,
    workers=1,
    console=Console(file=text, width=200),
  )
  assert {outcome.status for outcome in result.outcomes.values()} == {"done"}
  results = {name: outcome.result for name, outcome in result.outcomes.items()}
  three = "with base/seed0 fast/seed0 base/seed1"
  assert [results[name] for name in three.split()[1:]] == [three] * 3
  assert results["decay/seed1"] == "with decay/seed0 decay/seed1"
  for name in ("fast/seed1", "batch/seed0", "stream/seed0", "pmap/seed0"):
    assert results[name].startswith("alone")
  assert text.getvalue().count("died by signal 9 (SIGKILL)") == 5
  assert "trained alone: pmap/seed0: parallel is 'pmap'" in text.getvalue()


def kill_when_saved(directory):
  """Kills the process that trains in a sweep's directory once a run has a checkpoint."""
  deadline = time.monotonic() + 60
  while not checkpointed(directory):
    assert time.monotonic() < deadline
    time.sleep(0.02)
  (status, *_) = directory.glob("*/seed*/status.json")
  os.kill(json.loads(status.read_text())["pid"], signal.SIGKILL)


def test_real_runs_of_a_sweep_whose_worker_is_killed(tmp_path):
  experiment = load_experiment("downsampling_digits", "tiny")
  overrides = specs(tmp_path, "max")[0].overrides
  shared = {key: value for key, value in overrides.items() if key != "seed"}
  experiment = dataclasses.replace(experiment, overrides={**experiment.overrides, **shared})
  killer = threading.Thread(target=kill_when_saved, args=[tmp_path / experiment.name])
  killer.start()
  text = io.StringIO()
  console = Console(file=text, width=200)
  launcher = Launcher(settings={"together": "4"})
  done = sweep(experiment, tmp_path, only="max", seeds=2, launcher=launcher, console=console)
  killer.join()
  assert done.result.exit_code == 0, text.getvalue()
  processes = set()
  for one in done.specs:
    if one.label == "max":
      assert f"the worker of {one.name} died by signal 9" in text.getvalue()
      assert_complete(Path(one.directory))
      processes.add(json.loads((Path(one.directory) / "status.json").read_text())["pid"])
  assert len(processes) == 1


def test_together_is_an_option_of_the_local_launcher(tmp_path):
  experiment = load_experiment("downsampling_digits", "tiny")
  with pytest.raises(ConfigError, match="together of launcher 'local' is 0; allowed: 1 to"):
    sweep(experiment, tmp_path, launcher=Launcher(settings={"together": "0"}))
  with pytest.raises(ConfigError, match="unknown option 'together' of launcher 'slurm'"):
    sweep(experiment, tmp_path, launcher=Launcher("slurm", settings={"together": "2"}))
