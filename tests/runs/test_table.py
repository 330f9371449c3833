import os
import socket
import subprocess
import sys

import pytest

from cnnlab.errors import RunError
from cnnlab.runs.status import effective_status, process_lives
from cnnlab.runs.table import flat_config, main_metric, runs_table, varying_keys
from tests.runs.synthetic import write_run


def dead_pid():
  process = subprocess.Popen([sys.executable, "-c", ""])
  process.wait()
  return process.pid


def test_one_row_a_run(tmp_path):
  write_run(tmp_path / "b", errors=(0.2, 0.1, 0.3))
  write_run(tmp_path / "a" / "seed1", config={"seed": 1, "optim.learning_rate": 0.5}, total=9)
  table = runs_table(tmp_path)
  assert table["run"].to_list() == [os.path.join("a", "seed1"), "b"]
  assert table["status"].to_list() == ["done", "done"]
  assert table["step"].to_list() == [30, 30]
  assert table["total_steps"].to_list() == [90, 30]
  assert table["metric"].to_list() == ["eval/error"] * 2
  assert table["best"].to_list() == [0.125, 0.1]
  assert table["last"].to_list() == [0.125, 0.3]
  assert table["differs"].to_list() == [
    "optim.learning_rate=0.5 seed=1",
    "optim.learning_rate=0.1 seed=0",
  ]


def test_what_a_metric_is_of(tmp_path):
  write_run(tmp_path / "result")
  write_run(tmp_path / "tuning", config={"data.validation": 0.1})
  write_run(tmp_path / "without", errors=())
  assert runs_table(tmp_path)["evaluated"].to_list()[:2] == ["test", "validation"]
  assert runs_table(tmp_path)["evaluated"].isna().to_list() == [False, False, True]


def test_best_follows_the_mode_of_the_task(tmp_path):
  derived = {"main_metric": ["eval/error", "max"]}
  write_run(tmp_path / "a", errors=(0.2, 0.4, 0.3), derived=derived)
  assert runs_table(tmp_path)["best"].to_list() == [0.4]
  assert main_metric(tmp_path / "a") == ("eval/error", "max")


def test_running_run_whose_process_is_gone_is_dead(tmp_path):
  here = {"status": "running", "host": socket.gethostname()}
  write_run(tmp_path / "gone", pid=dead_pid(), **here)
  write_run(tmp_path / "here", pid=os.getpid(), **here)
  write_run(tmp_path / "there", status="running", pid=dead_pid(), host="another-machine")
  write_run(tmp_path / "over", pid=dead_pid(), host=socket.gethostname(), status="done")
  assert runs_table(tmp_path)["status"].to_list() == ["dead", "running", "done", "running"]


def test_zombie_does_not_live():
  process = subprocess.Popen([sys.executable, "-c", ""])
  while process_lives(process.pid):
    pass
  assert process.wait() == 0
  assert effective_status({}) == "unknown"


def test_a_damaged_run_is_shown_with_its_reason(tmp_path):
  write_run(tmp_path / "a")
  broken = write_run(tmp_path / "b")
  (broken / "status.json").write_text("{")
  failed = write_run(tmp_path / "c", status="failed", reason="DataError: no such file")
  (failed / "config.json").unlink()
  table = runs_table(tmp_path)
  assert table["status"].to_list() == ["done", "damaged", "failed"]
  assert "status.json" in table["reason"][1]
  assert table["reason"][2] == "DataError: no such file"


def test_empty_and_missing_root(tmp_path):
  assert runs_table(tmp_path).empty
  with pytest.raises(RunError, match="does not exist"):
    runs_table(tmp_path / "nothing")


def test_varying_keys():
  configs = [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, None, {"a": 1, "b": "x", "c": [1]}]
  assert varying_keys(configs) == ["a", "c"]
  assert varying_keys([{"a": 1}]) == []
  assert varying_keys([]) == []


def test_flat_config_leaves_out_what_is_derived(tmp_path):
  flat = flat_config(write_run(tmp_path / "a"))
  assert flat["model.features"] == [16, 32]
  assert not any(key.startswith("derived") for key in flat)
