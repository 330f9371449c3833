import dataclasses
import time

import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.lab import cost
from cnnlab.lab.claim import Claim, Condition, Measure
from cnnlab.lab.measures import check_measures
from cnnlab.lab.outputs import relative_difference
from cnnlab.lab.plan import plan, plan_tuning, resolve
from cnnlab.lab.tuning import Tuning
from cnnlab.lab.wiring import Examined, examine, nearly_same
from cnnlab.metrics import CLASSIFICATION, to_json
from tests.conftest import keep_compiled
from tests.lab.conftest import make_experiment

DECLARED = [Examined("base", metrics=to_json(CLASSIFICATION))]


def check(tmp_path, **changes):
  experiment = make_experiment(**changes)
  check_measures(experiment, plan(experiment, tmp_path, only="base"), DECLARED)


def test_measures_are_read():
  assert Measure.parse("eval/error") == Measure("eval/error")
  assert Measure.parse("eval/error@step=500") == Measure("eval/error", "step", 500)
  assert Measure.parse("train/loss@seconds=1.5") == Measure("train/loss", "seconds", 1.5)
  assert Measure.parse("train/loss@area").at == "area"


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"metric": "eval/eror"}, r"metric 'eval/eror'; did you mean 'eval/error'"),
    ({"metric": "eval/top1", "mode": "min"}, "mode is 'min', but 'eval/top1' is better the higher"),
    (
      {"claims": (Claim("c", "base", "<", "better", "s", "train/los@area"),)},
      r"experiment 'toy': unknown metric 'train/los' of claim 'c'; did you mean 'train/loss'",
    ),
    (
      {"regime": (Condition("fits", "trainset/error", "<=", 0.1),)},
      "needs eval_trainset=True",
    ),
    (
      {"tuning": Tuning({"optim.momentum": (0.5,)}, metric="trainset/eror")},
      r"metric 'trainset/eror' of tuning; did you mean 'trainset/error'",
    ),
  ],
)
def test_a_metric_that_no_run_will_have_is_named(tmp_path, changes, message):
  with pytest.raises(ConfigError, match=message):
    check(tmp_path, **changes)


def test_metrics_that_runs_will_have_pass(tmp_path):
  check(tmp_path, claims=(Claim("c", "base", "<", "better", "s", "parameters"),))
  check(
    tmp_path,
    regime=(Condition("fits", "trainset/error", "<=", 0.1),),
    overrides={"eval_trainset": True},
  )


def test_a_variant_that_hardly_changes_the_outputs_is_named(tmp_path):
  variants = {
    "base": {},
    "wider": {"model.features": (8, 8)},
    "slower": {"optim.learning_rate": 0.01},
  }
  experiment = make_experiment(
    config="configs/digits.py:tiny", variants=variants, claims=(), paper={}, seeds=(0,)
  )
  specs = plan(experiment, tmp_path)
  examined = {one.label: one for one in examine(specs, workers=0)}
  assert not any(one.error for one in examined.values())
  assert len(examined["base"].outputs) == 4 * 10
  # A lower rate changes no output, but is no option of the model.
  assert examined["slower"].outputs == examined["base"].outputs
  assert nearly_same(examined.values(), specs, "base") == []
  near = [examined["base"], examined["wider"]._replace(outputs=examined["base"].outputs)]
  assert "model.features" in nearly_same(near, specs, "base")[0]


def test_relative_difference():
  assert relative_difference([1.0, 2.0], [1.0, 2.0]) == 0
  assert relative_difference([3.0, 4.0], [0.0, 5.0]) == pytest.approx(np.hypot(3, 1) / 5)
  assert np.isnan(relative_difference([1.0], [1.0, 2.0]))


def test_cost_counts_training_evaluations_starts_and_compilations(tmp_path):
  experiment = make_experiment(config="configs/digits.py:tiny")
  specs = plan(experiment, tmp_path, only="base better")
  examined = [Examined("base", images=100, eval_images=30, multiply_adds=10)]
  rate = cost.Rate(300, overhead=2.0, source="measured", evaluated=100, compile=5.0, start=1.0)
  found = cost.estimate_cost([(specs, examined)], rate, workers=2)
  assert found.multiply_adds == 4 * 10 * (3 * 100 + 30)
  # A run of the base takes 2 + 10 + 3 s, one of the other 2 s, the first of each 5 s more. The four
  # pairs of runs, in their order, keep both workers busy until 21, 8; 23, 23; 38, 25; 40, 40.
  assert found.seconds == pytest.approx(40)
  assert "about 40.0 s for 8 runs, 2 runs at a time" in str(found)
  known = cost.estimate_cost([(specs, examined)], rate, 2, compiled={"base", "better"})
  assert known.seconds == pytest.approx(35)  # 16, 3; 18, 18; 33, 20; 35, 35
  assert cost.estimate_cost([(specs, examined)] * 2, rate, 2).seconds == pytest.approx(40 + 35)


def test_a_tuning_run_is_another_program_and_costs_its_share(tmp_path):
  grid = {"optim.learning_rate": (0.1, 0.2)}
  changes = {"tuning": Tuning(grid, overrides={"epochs": 0.5}), "variants": {"base": {}}}
  experiment = make_experiment(
    config="configs/digits.py:tiny", claims=(), paper={}, seeds=(0,), **changes
  )
  first, rest = plan_tuning(experiment, tmp_path), plan(experiment, tmp_path)
  examined = [Examined("base", images=1000, eval_images=0, multiply_adds=10)]
  (one,) = cost.scaled(examined, rest, first)
  share = 0.5 / resolve(rest[0]).epochs * (1 - resolve(first[0]).data.validation)
  assert one.images == pytest.approx(1000 * share, abs=1)
  rate = cost.Rate(1e12, overhead=0.0, source="measured", compile=5.0)
  found = cost.estimate_cost([(first, [one]), (rest, examined)], rate, workers=1)
  assert found.seconds == pytest.approx(2 * 5 + 5, abs=0.01)


def test_this_machine_is_timed_once(tmp_path, monkeypatch):
  (spec,) = plan(make_experiment(config="configs/digits.py:tiny"), tmp_path, only="base", seeds=1)
  spec = dataclasses.replace(spec, overrides={**spec.overrides, "batch_size": 8})
  (cache := tmp_path / "cache").mkdir()
  keep_compiled(cache)
  monkeypatch.setenv("CNNLAB_CACHE", str(cache))
  assert cost.remembered(spec, 1) is None
  assert cost.compiled_folders([spec]) == set()
  rate = cost.measure(spec.to_dict(), 1, time.time() - 3)
  assert rate.multiply_adds > 1e5
  assert rate.evaluated > 1e5
  assert 0 < rate.overhead < 120
  assert 3 <= rate.start < 60
  assert cost.remembered(spec, 1) == rate
  assert cost.remembered(spec, 2) is None
  cost.remember_compiled(spec.to_dict() | {"overrides": {**spec.overrides, "seed": 9}})
  assert cost.compiled_folders([spec]) == {"base"}
