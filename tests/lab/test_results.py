import json
import shutil

import pytest

from cnnlab.errors import RunError
from cnnlab.lab.results import collect, find_sweeps, strangers
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_json, write_run


@pytest.fixture
def copy(sweep, tmp_path):
  return shutil.copytree(sweep, tmp_path / "toy")


def test_a_row_for_every_run_asked_for(sweep):
  runs = collect(sweep)
  assert len(runs) == 16
  assert runs["status"].value_counts().to_dict() == {"done": 14, "diverged": 1, "missing": 1}
  first = runs.iloc[0]
  assert (first["variant"], first["seed"], first["directory"]) == ("base", 0, "base/seed0")
  assert first["value"] == pytest.approx(0.20)
  assert first["trainset"] != first["trainset"]
  assert not first["confirms"]


def test_unfinished_runs_have_no_final_value(sweep):
  runs = collect(sweep).set_index(["variant", "seed"])
  diverged = runs.loc[("shaky", 1)]
  assert diverged["value"] is None or diverged["value"] != diverged["value"]
  assert diverged["reason"] == "DivergedError: loss is nan"


def test_seeds_beyond_the_experiments_are_found(copy):
  write_run(copy / "base" / "seed11", config={"seed": 11})
  assert collect(copy).query("variant == 'base'")["seed"].tolist() == [0, 1, 2, 3, 11]


def test_run_of_another_config_is_no_result(copy):
  config = json.loads((copy / "better" / "seed2" / "config.json").read_text())
  config["optim"]["learning_rate"] = 0.3
  write_json(copy / "better" / "seed2" / "config.json", config)
  row = collect(copy).query("variant == 'better' and seed == 2").iloc[0]
  assert row["status"] == "other config"
  assert row["reason"] == "optim.learning_rate is 0.3, the variant sets 0.2"
  assert row["value"] != row["value"]


def test_broken_run_is_shown(copy):
  (copy / "base" / "seed0" / "status.json").write_text("no json")
  row = collect(copy).iloc[0]
  assert row["status"] == "damaged"
  assert "status.json" in row["reason"]


def test_metric_that_no_run_has_logged(sweep):
  runs = collect(sweep, make_experiment(metric="eval/nothing"))
  assert runs["value"].isna().all()


def test_runs_of_no_variant_are_named(copy):
  write_run(copy / "forgotten" / "seed0")
  assert strangers(copy, make_experiment()) == ["forgotten"]


def test_find_sweeps(sweep, tmp_path):
  assert find_sweeps(sweep) == [sweep]
  assert find_sweeps(sweep.parent) == [sweep]
  with pytest.raises(RunError, match="holds no sweep"):
    find_sweeps(tmp_path)
  with pytest.raises(RunError, match="does not exist"):
    find_sweeps(tmp_path / "nothing")
