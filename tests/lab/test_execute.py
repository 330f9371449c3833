import json
import sys
import types

import pytest

from cnnlab.errors import DataError, DivergedError, RunError
from cnnlab.lab.execute import execute_run
from cnnlab.lab.results import peak_memory
from cnnlab.runs.loading import Run
from tests.runs.synthetic import write_run


@pytest.fixture
def training(monkeypatch):
  """Replaces `cnnlab.train` with a module that runs the test's function and records calls."""
  from cnnlab.errors import CnnlabError

  class Interrupted(CnnlabError):
    pass

  calls = []
  module = types.ModuleType("cnnlab.train")
  module.Interrupted = Interrupted
  module.calls = calls

  def train(config, workdir, *, asked=(), progress=None, report=None):
    calls.append({"config": config, "workdir": workdir, "asked": dict(asked), "progress": progress})
    return module.does(workdir)

  module.train = train
  monkeypatch.setitem(sys.modules, "cnnlab.train", module)
  return module


def spec_of(directory):
  overrides = {"seed": 3, "model.downsample": "avg"}
  return {"directory": str(directory), "config": "configs/digits.py", "overrides": overrides}


def report(step, total):
  pass


def test_trains_with_the_overrides_and_returns_the_result(training, tmp_path):
  training.does = lambda workdir: write_run(workdir)
  outcome = execute_run(spec_of(tmp_path / "run"), report)
  assert outcome == {"status": "done", "reason": "", "result": "test error 12.50 %"}
  call = training.calls[0]
  assert (call["config"].seed, call["config"].model.downsample) == (3, "avg")
  assert call["asked"] == {"seed": 3, "model.downsample": "avg"}
  assert call["progress"] is report


def test_the_result_of_a_tuning_run_is_called_a_validation_error(training, tmp_path):
  training.does = lambda workdir: write_run(workdir, config={"data.validation": 0.1})
  assert execute_run(spec_of(tmp_path / "run"), report)["result"] == "validation error 12.50 %"


def raises(error):
  def does(workdir):
    raise error

  return does


def test_a_failure_before_the_run_started_is_recorded(training, tmp_path):
  training.does = raises(DataError("no images"))
  outcome = execute_run(spec_of(tmp_path / "run"), report)
  assert outcome["status"] == "failed"
  assert "no images" in outcome["reason"]
  status = json.loads((tmp_path / "run" / "status.json").read_text())
  assert (status["status"], status["reason"]) == ("failed", "DataError: no images")
  assert "Traceback" in status["error"]


def test_divergence_that_training_recorded_is_kept(training, tmp_path):
  def does(workdir):
    write_run(workdir, status="diverged", reason="at step 3", error="trace")
    raise DivergedError("at step 3")

  training.does = does
  outcome = execute_run(spec_of(tmp_path / "run"), report)
  assert outcome["status"] == "diverged"
  assert json.loads((tmp_path / "run" / "status.json").read_text())["error"] == "trace"


def test_refused_directory_is_left_as_it_is(training, tmp_path):
  run = write_run(tmp_path / "run")
  before = {path: path.read_bytes() for path in run.rglob("*")}
  training.does = raises(RunError("holds a run with another config"))
  outcome = execute_run(spec_of(run), report)
  assert outcome["status"] == "refused"
  assert "another config" in outcome["reason"]
  assert {path: path.read_bytes() for path in run.rglob("*")} == before


def test_an_interruption_is_not_a_failure(training, tmp_path):
  training.does = raises(training.Interrupted("saved at step 5"))
  outcome = execute_run(spec_of(tmp_path / "run"), report)
  assert (outcome["status"], outcome["reason"]) == ("interrupted", "saved at step 5")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("after", "recorded"), [(700, 700), (500, None)])
def test_peak_memory_is_recorded_only_if_this_run_reached_it(
  training, tmp_path, monkeypatch, after, recorded
):
  peaks = iter((500, after))  # a device keeps one peak for all runs of a process
  monkeypatch.setattr("cnnlab.lab.execute._peak_memory", lambda: next(peaks))
  training.does = lambda workdir: write_run(workdir)
  execute_run(spec_of(tmp_path / "run"), report)
  assert peak_memory(Run(tmp_path / "run")) == recorded
