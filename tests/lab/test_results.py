import dataclasses
import json
import math
import shutil

import pytest

from cnnlab.errors import RunError
from cnnlab.lab.claim import Claim, Condition, Measure
from cnnlab.lab.results import collect, collect_tuning, find_sweeps, read_measure, strangers
from cnnlab.lab.tuning import Tuning, choose
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


def test_measures_are_read_off_the_curve(tmp_path):
  names = {
    "eval/error@step=25": 0.4,
    "eval/error@step=9": math.nan,
    "eval/error@step=1e9": 0.2,
    "eval/error@seconds=4.1": 0.4,  # two seconds an epoch
    "eval/error@seconds=1.9": math.nan,
    "eval/error@area": 0.425,  # trapezoids of 0.7 and 0.4, 0.4 and 0.2
    "train/loss": 0.4,
  }
  claims = tuple(Claim(name, "better", "<", "base", "s", metric=name) for name in names)
  regime = (Condition("fits", "trainset/error", "<=", 0.1),)
  experiment = make_experiment(claims=claims, regime=regime)
  write_run(tmp_path / "base" / "seed0", errors=(0.7, 0.4, 0.2))
  row = collect(tmp_path, experiment).iloc[0]
  assert {name: row[name] for name in names} == pytest.approx(names, nan_ok=True)
  assert row["trainset"] != row["trainset"]
  assert row["trainset/error"] != row["trainset/error"]
  lines = tmp_path / "base" / "seed0" / "metrics.jsonl"
  lines.write_text(lines.read_text() + json.dumps({"step": 30, "trainset/error": 0.05}) + "\n")
  row = collect(tmp_path, experiment).iloc[0]
  assert (row["trainset"], row["trainset/error"], row["value"]) == (0.05, 0.05, 0.2)


def test_seconds_between_rows_are_interpolated():
  rows = [{"step": step, "m": step / 10} for step in (5, 10, 20)]
  times = [{"step": 10, "seconds": 4.0}, {"step": 20, "seconds": 6.0}]
  read = {s: read_measure(rows, times, Measure("m", "seconds", s)) for s in (1.9, 2.0, 5.9, 6.0)}
  assert read == pytest.approx({1.9: math.nan, 2.0: 0.5, 5.9: 1.0, 6.0: 2.0}, nan_ok=True)
  assert math.isnan(read_measure(rows, [], Measure("m", "seconds", 9.0)))
  assert read_measure(rows[:1], times, Measure("m", "area")) == 0.5


def test_tuned_settings_are_what_a_run_must_have(tmp_path):
  tuning = Tuning({"optim.learning_rate": (0.1, 0.5)}, seeds=(9,), overrides={"batch_size": 16})
  rates = {"base": {"optim.learning_rate": 0.5}}
  variants = {"base": {}, "twin": {"model.features": (16, 32)}}
  changes = {"variants": variants, "claims": (), "seeds": (0,), "tuning": tuning, "tuned": rates}
  experiment = make_experiment(**changes)
  write_run(tmp_path / "base" / "seed0", config={"optim.learning_rate": 0.5})
  write_run(tmp_path / "twin" / "seed0")
  short = {"batch_size": 16, "seed": 9, "data.validation": 0.1}
  for setting, rate in (("learning_rate=0.1", 0.1), ("learning_rate=0.5", 0.5)):
    run = tmp_path / "base" / "tuning" / setting / "seed9"
    write_run(run, config={"optim.learning_rate": rate, **short}, errors=(0.4, rate / 2))
  assert list(tuning.settings) == ["learning_rate=0.1", "learning_rate=0.5"]
  assert collect(tmp_path, experiment)["status"].tolist() == ["done", "done"]
  untuned = make_experiment(**changes | {"tuned": {"base": {"optim.learning_rate": 0.1}}})
  assert collect(tmp_path, untuned)["status"].tolist() == ["other config", "done"]
  table = collect_tuning(tmp_path, experiment)
  assert table["variant"].tolist() == ["base", "base", "twin", "twin"]
  assert table["status"].tolist() == ["done", "done", "missing", "missing"]
  assert table["value"].tolist() == pytest.approx([0.05, 0.25, math.nan, math.nan], nan_ok=True)
  assert table.loc[0, "directory"] == "base/tuning/learning_rate=0.1/seed9"
  assert choose(table, tuning, "min") == {"base": {"optim.learning_rate": 0.1}}
  assert strangers(tmp_path, experiment) == []
  assert collect_tuning(tmp_path, make_experiment()).empty
  fitted = make_experiment(**changes | {"tuning": dataclasses.replace(tuning, metric="train/loss")})
  losses = collect_tuning(tmp_path, fitted)["value"][:2]
  logged = [
    json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])["train/loss"]
    for name in table["directory"][:2]
  ]
  assert losses.tolist() == logged


def test_seeds_that_confirm_are_marked(sweep):
  runs = collect(sweep, make_experiment(seeds=(0, 1), confirmed_by=(2, 3, 4)))
  part = runs[runs["variant"] == "base"].set_index("seed")
  assert part["confirms"].tolist() == [False, False, True, True, True]
  assert part["status"].tolist() == ["done"] * 4 + ["missing"]


def test_variants_without_a_fresh_seed_are_left_out_of_the_confirmation(copy):
  shutil.rmtree(copy / "better" / "seed3")
  runs = collect(copy, make_experiment(seeds=(0, 1, 2), confirmed_by=(3, 4)))
  assert runs.loc[runs["variant"] == "better", "seed"].tolist() == [0, 1, 2]
  assert runs.loc[runs["variant"] == "base", "seed"].tolist() == [0, 1, 2, 3, 4]
