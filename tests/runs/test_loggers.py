"""Loggers: none of them stops a run, and each goes on with its own run after an interruption."""

import json
import logging
import struct
import sys

import pytest

import cnnlab
from cnnlab.errors import ConfigError
from cnnlab.runs.loggers import LOGGERS, Loggers, register_logger
from cnnlab.train import train
from tests.train.conftest import tiny
from tests.waiting import wait_until

CONFIG = {"seed": 0, "optim": {"name": "sgd"}, "derived": {"class_names": ["a", "é"] * 2000}}


@pytest.fixture
def workdir(tmp_path):
  return tmp_path / "run"


@pytest.fixture
def registered(monkeypatch):
  """Makes loggers available for one test."""
  monkeypatch.setattr("cnnlab.register._added", set())
  before = dict(LOGGERS)
  yield register_logger
  LOGGERS.clear()
  LOGGERS.update(before)


class Recorder:
  """Keeps what it is told; fails at the step of the environment's choice."""

  fails_at = None
  calls = []

  def start(self, config, directory, step):
    self.calls.append(("start", config["seed"], directory.name, step))

  def log(self, step, metrics):
    if step == self.fails_at:
      raise ConnectionError("no route\nto the host")
    self.calls.append((step, sorted(metrics)))

  def finish(self, status):
    self.calls.append(("finish", status))


def two_sessions(names, directory, row):
  """Logs steps 1 to 5; then, as after a kill, goes on from a checkpoint at step 3 to step 8."""
  directory.mkdir()
  for first, last, status in ((0, 5, "failed"), (3, 8, "done")):
    loggers = Loggers(names)
    loggers.start(CONFIG, directory, first)
    for step in range(first + 1, last + 1):
      loggers.log(step, row | {"train/loss": 1 / step})
    loggers.finish(status)


def test_an_unknown_logger_names_the_nearest():
  with pytest.raises(ConfigError, match=r"'wanbd'.*did you mean 'wandb'"):
    Loggers(["wanbd"])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_that_names_the_extra(name, workdir, monkeypatch):
  monkeypatch.setitem(sys.modules, name, None)
  for module in [m for m in sys.modules if m.startswith("cnnlab.runs.loggers.")]:
    monkeypatch.delitem(sys.modules, module)
  with pytest.raises(ConfigError, match=rf"'{name}' .*pip install 'cnnlab\[{name}\]'$") as caught:
    train(tiny(loggers=(name,)), workdir)
  assert "\n" not in str(caught.value)
  assert not workdir.exists()


def test_a_logger_that_fails_warns_once_and_the_run_ends_well(workdir, registered, caplog):
  registered("recorder", Recorder)
  Recorder.calls, Recorder.fails_at = [], 3
  row = train(tiny(loggers=("recorder",), max_steps=5), workdir)
  assert row["step"] == 5
  assert Recorder.calls[0] == ("start", 0, "run", 0)
  assert [call[0] for call in Recorder.calls] == ["start", 1, 2]
  (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
  assert warning == (
    "the logger 'recorder' takes no further rows of this run: ConnectionError: no route"
  )


def test_a_logger_is_told_all_numbers_and_how_the_run_ended(workdir, registered):
  registered("recorder", Recorder)
  Recorder.calls, Recorder.fails_at = [], None

  def stop(step, total):
    if step == 2:
      raise KeyboardInterrupt

  with pytest.raises(cnnlab.train.Interrupted):
    train(
      tiny(loggers=("recorder",), checkpoint_every_steps=1, max_steps=5), workdir, progress=stop
    )
  train(tiny(loggers=("recorder", "tensorboard"), checkpoint_every_steps=1, max_steps=5), workdir)
  assert [call[0] for call in Recorder.calls] == [
    *("start", 1, 2, "finish"),
    *("start", 3, 4, 5, "finish"),
  ]
  assert Recorder.calls[3] == ("finish", "interrupted")
  assert Recorder.calls[4][3] == 2
  assert Recorder.calls[-1] == ("finish", "done")
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  logged = sorted(key for key, value in rows[-1].items() if value is not None)
  assert sorted([*Recorder.calls[-2][1], "epoch", "step"]) == logged


def test_events_that_cannot_be_written_are_a_warning(tmp_path, caplog):
  (tmp_path / "tensorboard").touch()
  loggers = Loggers(["tensorboard"])
  loggers.start(CONFIG, tmp_path, 0)
  loggers.log(1, {"train/loss": 0.5})
  loggers.finish("done")
  assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


def test_mlflow_goes_on_with_the_same_run(tmp_path, monkeypatch):
  mlflow = pytest.importorskip("mlflow")
  store = f"sqlite:///{tmp_path}/store.db"
  monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
  two_sessions(["mlflow"], tmp_path / "run", {"eval/iou/é (left)": 0.5, "eval/none": None})
  client = mlflow.MlflowClient(store)
  experiment = client.get_experiment_by_name("cnnlab")
  (run,) = client.search_runs([experiment.experiment_id])
  assert run.info.status == "FINISHED"
  assert run.data.params["optim.name"] == "sgd"
  assert set(run.data.metrics) == {"train/loss", "eval/iou/é _left_"}
  history = client.get_metric_history(run.info.run_id, "train/loss")
  assert [(m.step, m.value) for m in history] == [(step, 1 / step) for step in range(1, 9)]


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  two_sessions(["wandb"], tmp_path / "run", {"eval/error": 0.5})
  files = sorted(tmp_path.glob("run/wandb/offline-run-*/*.wandb"))
  assert len(files) == 2
  for file in files:  # `finish` may return before W&B's process has written them
    wait_until(lambda file=file: any(r.HasField("exit") for r in wandb_records(file)), seconds=30)
  records = [record for file in files for record in wandb_records(file)]
  runs = [record.run for record in records if record.HasField("run")]
  assert len({run.run_id for run in runs}) == 1
  assert {run.project for run in runs} == {"cnnlab"}
  rows = [
    {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in r.history.item}
    for r in records
    if r.HasField("history")
  ]
  assert [(row["_step"], row["train/loss"]) for row in rows] == [(s, 1 / s) for s in range(1, 9)]
  assert [r.exit.exit_code for r in records if r.HasField("exit")] == [1, 0]


def wandb_records(path):
  """Yields the records of an offline run: LevelDB's log format, after a header of 7 bytes."""
  from wandb.proto.wandb_internal_pb2 import Record

  data, place, whole = path.read_bytes(), 7, b""
  while place + 7 <= len(data):
    if (left := 32768 - place % 32768) < 7:
      place += left
      continue
    _, length, kind = struct.unpack("<IHB", data[place : place + 7])
    whole += data[place + 7 : place + 7 + length]
    place += 7 + length
    if kind in (1, 4):  # whole, or the last part
      yield Record.FromString(whole)
      whole = b""
