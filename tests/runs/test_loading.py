import subprocess
import sys

import numpy as np
import pytest

from cnnlab.errors import RunError
from cnnlab.runs import find_runs, load
from tests.runs.synthetic import write_json, write_run


@pytest.fixture
def run(tmp_path):
  return write_run(tmp_path / "some" / "run")


def test_reads_a_run_directory(run):
  loaded = load(run)
  assert loaded.directory == run
  assert tuple(loaded.config.model.features) == (16, 32)
  assert loaded.config.optim.learning_rate == 0.1
  assert loaded.config.derived.num_classes == 10
  assert loaded.status["status"] == "done"
  assert loaded.environment["python"] == "3.11"
  assert loaded.metrics["step"].to_list() == [5, 10, 15, 20, 25, 30]
  assert loaded.metrics["eval/error"].dropna().to_list() == [0.5, 0.25, 0.125]
  assert np.isnan(loaded.metrics["eval/error"][0])
  assert loaded.timing["seconds"].to_list() == [2.0, 4.0, 6.0]


def test_config_is_locked(run):
  with pytest.raises(AttributeError):
    _ = load(run).config.optim.learning_rat
  with pytest.raises((AttributeError, KeyError)):
    load(run).config.optim.momentun = 0.5


def test_torn_last_line_is_left_out(run):
  with (run / "metrics.jsonl").open("a") as file:
    file.write('{"step": 35, "epo')
  assert load(run).metrics["step"].to_list() == [5, 10, 15, 20, 25, 30]


def test_broken_line_in_the_middle_is_an_error(run):
  lines = (run / "metrics.jsonl").read_text().splitlines()
  lines[2] = lines[2][:7]
  (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  with pytest.raises(RunError, match=r"metrics\.jsonl, line 3"):
    _ = load(run).metrics


def test_run_that_has_logged_nothing_has_an_empty_table(run):
  (run / "metrics.jsonl").unlink()
  assert load(run).metrics.empty
  assert "step" in load(run).metrics


def make_checkpoint(directory):
  (directory / "about").mkdir(parents=True)
  config = {"model": {"name": "convnet"}, "seed": 4}
  write_json(directory / "about" / "metadata", {"config": config, "metrics": {"eval/error": 0.25}})
  return directory


def test_reads_a_run_from_its_checkpoints(run):
  checkpoint = make_checkpoint(run / "checkpoints" / "20")
  assert load(run / "checkpoints").directory == run
  one = load(checkpoint)
  assert (one.directory, one.checkpoint) == (run, checkpoint)
  assert len(one.metrics) == 6


def test_reads_a_checkpoint_that_stands_alone(tmp_path):
  alone = load(make_checkpoint(tmp_path / "20"))
  assert alone.config.seed == 4
  assert alone.metrics.to_dict("records") == [{"step": 20, "eval/error": 0.25}]
  assert alone.status == {}


def test_model_is_the_one_of_the_config(run):
  model = load(run).model
  assert model.num_classes == 10
  assert tuple(model.features) == (16, 32)


def test_missing_directory(tmp_path):
  with pytest.raises(RunError, match="does not exist"):
    load(tmp_path / "nothing")
  with pytest.raises(RunError, match="does not exist"):
    find_runs(tmp_path / "nothing")


def test_directory_that_is_no_run_names_one_below(run, tmp_path):
  with pytest.raises(RunError, match=r"not a run directory.*some/run"):
    load(tmp_path)


def test_broken_config_is_named(run):
  (run / "config.json").write_text("{")
  with pytest.raises(RunError, match=r"config\.json"):
    _ = load(run).config


def test_find_runs_does_not_look_inside_runs(run, tmp_path):
  make_checkpoint(run / "checkpoints" / "20")
  write_run(run / "checkpoints" / "20" / "inner")
  other = write_run(tmp_path / "another")
  assert find_runs(tmp_path) == [other, run]
  assert find_runs(run) == [run]


def test_reading_starts_no_jax(run):
  code = (
    "import sys, cnnlab.runs, cnnlab.runs.table\n"
    f"run = cnnlab.runs.load({str(run)!r}); run.metrics; run.config\n"
    f"cnnlab.runs.table.runs_table({str(run)!r})\n"
    "print([m for m in ('jax', 'flax', 'orbax', 'cnnlab.models') if m in sys.modules])"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"
