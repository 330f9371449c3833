import dataclasses

import pandas as pd
import pytest

from cnnlab.errors import ConfigError, RunError
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import from_json, read_experiment
from cnnlab.lab.plan import parse_seeds, plan, plan_tuning, resolve
from cnnlab.lab.tuning import Tuning, choose
from tests.lab.conftest import make_experiment

RATES = Tuning({"optim.learning_rate": (0.1, 0.01), "optim.momentum": (0.9, 0.5)})


def tuned_experiment(**changes):
  return make_experiment(
    variants={"base": {}, "better": {"model.features": (4, 4)}}, tuning=RATES, paper={}, **changes
  )


def table(*rows):
  return pd.DataFrame(rows, columns=["variant", "setting", "seed", "status", "value"])


def test_every_variant_tries_every_setting_on_a_validation_part(tmp_path):
  specs = plan_tuning(tuned_experiment(), tmp_path)
  assert len(specs) == 2 * 4
  assert specs[0].name == "base/tuning/learning_rate=0.1,momentum=0.9/seed1000"
  assert specs[0].label == "base"
  config = resolve(specs[-1])
  assert (config.optim.learning_rate, config.optim.momentum) == (0.01, 0.5)
  assert (config.data.validation, config.seed) == (0.1, 1000)
  assert [s.label for s in plan_tuning(tuned_experiment(), tmp_path, only="bet*")] == ["better"] * 4


def test_the_best_mean_is_chosen_and_ties_take_the_first_in_the_grid():
  tuning = Tuning({"optim.learning_rate": (0.1, 0.01, 0.001)}, seeds=(5, 6))
  done = [
    ("a", "learning_rate=0.1", 5, "done", 0.3),
    ("a", "learning_rate=0.1", 6, "done", 0.5),
    ("a", "learning_rate=0.01", 5, "done", 0.4),
    ("a", "learning_rate=0.01", 6, "done", 0.4),
    ("a", "learning_rate=0.001", 5, "done", 0.1),
    ("a", "learning_rate=0.001", 6, "diverged", float("nan")),
  ]
  assert choose(table(*done), tuning, "min") == {"a": {"optim.learning_rate": 0.1}}
  better = [*done[:2], ("a", "learning_rate=0.01", 5, "done", 0.3), done[3]]
  assert choose(table(*better), tuning, "min") == {"a": {"optim.learning_rate": 0.01}}
  assert choose(table(*better), tuning, "max") == {"a": {"optim.learning_rate": 0.1}}
  # A variant waits for its last run, and without a finished setting there is nothing to choose.
  waiting = [*done[:3], ("a", "learning_rate=0.01", 6, "running", float("nan"))]
  assert choose(table(*waiting), tuning, "min") == {}
  assert choose(table(done[5]), tuning, "min") == {}


def test_what_was_chosen_reaches_the_runs_and_survives(tmp_path):
  chosen = {"base": {"optim.learning_rate": 0.01, "optim.momentum": 0.5}}
  experiment = tuned_experiment(tuned=chosen)
  directory = open_sweep(experiment, tmp_path)
  assert read_experiment(directory).tuned == chosen
  open_sweep(tuned_experiment(), tmp_path, seeds=[7])
  assert read_experiment(directory).tuned == chosen
  assert resolve(plan(experiment, tmp_path)[0]).optim.momentum == 0.5
  assert {s.label for s in plan_tuning(experiment, tmp_path)} == {"better"}
  other = dataclasses.replace(tuned_experiment(), tuning=Tuning({"optim.momentum": (0.9,)}))
  with pytest.raises(RunError, match="was tuned by"):
    open_sweep(other, tmp_path)


def test_json_and_back():
  experiment = tuned_experiment(confirmed_by=(9,), looks=2)
  assert from_json(experiment.to_json()).tuning == experiment.tuning
  assert from_json(experiment.to_json()).confirmed_by == (9,)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"keys": {}}, "each key needs values"),
    ({"keys": {"optim.momentum": ()}}, "each key needs values"),
    ({"seeds": ()}, "seeds is"),
    ({"seeds": (-1,)}, "seeds is"),
    ({"validation": 1.0}, "validation is 1.0"),
    ({"metric": None}, "metric is None"),
  ],
)
def test_a_tuning_that_cannot_be_used_is_named(fields, message):
  with pytest.raises(ConfigError, match=message):
    Tuning(**{"keys": {"optim.momentum": (0.9,)}} | fields)


def test_a_tuned_key_is_no_variant():
  with pytest.raises(ConfigError, match="'better' sets 'optim.momentum', which is tuned"):
    make_experiment(
      variants={"base": {}, "better": {"optim.momentum": 0.1}}, tuning=RATES, paper={}
    )


def test_claims_are_confirmed_on_fresh_seeds_and_frozen_by_it(tmp_path):
  experiment = make_experiment()
  with pytest.raises(RunError, match="no sweep whose claims"):
    open_sweep(experiment, tmp_path, seeds=[100], confirm=True)
  directory = open_sweep(experiment, tmp_path)
  with pytest.raises(RunError, match=r"seeds \[1\] have been used.*4\.\.8"):
    open_sweep(experiment, tmp_path, seeds=[1, 100], confirm=True)
  open_sweep(experiment, tmp_path, seeds=[100, 101], confirm=True)
  saved = read_experiment(directory)
  assert (saved.seeds, saved.confirmed_by) == ((0, 1, 2, 3), (100, 101))
  open_sweep(experiment, tmp_path, seeds=[5])
  assert read_experiment(directory).seeds == (0, 1, 2, 3, 5)
  claims = (dataclasses.replace(experiment.claims[0], margin=0.5),)
  with pytest.raises(RunError, match="the claims were frozen"):
    open_sweep(make_experiment(claims=claims), tmp_path)


@pytest.mark.parametrize(
  ("text", "seeds"), [("5", 5), ("100..102", (100, 101, 102)), ("3,7", (3, 7)), ("4..4", (4,))]
)
def test_seeds_as_text(text, seeds):
  assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "-1", "5..4", "a", "1..99999999", "1,,2", "1.5"])
def test_seeds_that_cannot_be_read(text):
  with pytest.raises(ConfigError, match="cannot read the seeds"):
    parse_seeds(text)
