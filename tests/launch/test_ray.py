"""The Ray launcher on a real cluster of two nodes on loopback, one of which dies mid-sweep."""

import io
import os
import re
import signal
import threading

import pytest
from rich.console import Console

from cnnlab.errors import ConfigError, RunError
from cnnlab.launch.ray import run_sweep
from tests.launch import digits
from tests.launch.test_local import specs_in
from tests.waiting import wait_until

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(project):
  """Two nodes with a CPU each, and this process as their driver."""
  from ray.cluster_utils import Cluster

  os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
  before = os.getcwd()
  os.chdir(project)
  cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
  cluster.second = cluster.add_node(num_cpus=1)
  cluster.wait_for_nodes()
  ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
  yield cluster
  ray.shutdown()
  cluster.shutdown()
  os.chdir(before)


def start(specs, execute=None, **options):
  """Sweeps in a thread; returns it, a list for its result, and its output."""
  text, result = io.StringIO(), []
  options |= {"console": Console(file=text, width=200)} | ({"execute": execute} if execute else {})
  thread = threading.Thread(target=lambda: result.append(run_sweep(specs, **options)))
  thread.start()
  return thread, result, text


@pytest.mark.slow
def test_lost_node_costs_its_run_only_the_steps_since_its_last_checkpoint(cluster, tmp_path):
  specs = digits.specs(tmp_path, "a", "b", "c")
  thread, result, text = start(specs, logs=tmp_path / "logs")
  # A run on each node, and each has something to lose.
  wait_until(lambda: len(digits.checkpointed(tmp_path)) == 2)
  cluster.remove_node(cluster.second, allow_graceful=False)
  thread.join(timeout=90)
  assert result, text.getvalue()
  assert result[0].exit_code == 0, text.getvalue()
  assert text.getvalue().count("the run resumes in a new one") == 1
  assert "the node of" in text.getvalue()
  for spec in specs:
    digits.assert_complete(tmp_path / spec.label / f"seed{spec.seed}")
    assert f"{spec.name}  test error" in text.getvalue()
  logs = "".join(p.read_text() for p in (tmp_path / "logs").iterdir())
  (step,) = re.findall(r"resuming .* at step (\d+)", logs)
  assert 0 < int(step) < digits.STEPS


def test_a_killed_worker_is_replaced_and_a_broken_run_recorded(cluster, tmp_path):
  runs = {"broken": {"raises": True}, "killed": {"dies_at": 2}, "fine": {}}
  specs = specs_in(tmp_path, **runs, done={"state": "done"})
  thread, result, text = start(specs, "tests.launch.fakes:execute", workers=1)
  thread.join(timeout=60)
  statuses = {name.split("/")[0]: o.status for name, o in result[0].outcomes.items()}
  assert statuses == {"broken": "failed", "killed": "done", "fine": "done", "done": "done"}
  assert "wrong on purpose" in text.getvalue()
  sessions = (tmp_path / "killed" / "sessions").read_text().splitlines()
  assert [line.split()[1] for line in sessions] == ["0", "2"]


def test_ctrl_c_saves_the_runs(cluster, tmp_path):
  specs = specs_in(tmp_path, a={"steps": 8000, "pause": 0.05}, b={})
  interrupt = threading.Thread(
    target=lambda: (
      wait_until((tmp_path / "a" / "count").exists),
      os.kill(os.getpid(), signal.SIGINT),
    )
  )
  interrupt.start()
  text = io.StringIO()
  result = run_sweep(
    specs, "tests.launch.fakes:execute", workers=1, console=Console(file=text, width=200)
  )
  interrupt.join()
  assert result.exit_code == 130
  assert result.outcomes["a/seed0"].status == "interrupted"
  assert result.outcomes["b/seed0"].reason == "not started in this session"
  assert "Run the same command to resume" in text.getvalue()


def test_a_run_that_no_node_can_hold_is_an_error(cluster, tmp_path):
  with pytest.raises(RunError, match="64 CPUs and 0 GPUs, and no node"):
    run_sweep(specs_in(tmp_path, a={}), settings={"cpus": "64"})


@pytest.mark.parametrize(
  ("settings", "message"),
  [({"cpu": "2"}, "did you mean 'cpus'"), ({"cpus": "two"}, "'two' is not a number")],
)
def test_wrong_settings(tmp_path, settings, message):
  with pytest.raises(ConfigError, match=message):
    run_sweep(specs_in(tmp_path, a={}), settings=settings)
