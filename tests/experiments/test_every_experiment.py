"""Every experiment and recipe: configs resolve, claims have sources, variants differ, nets train."""

import dataclasses
import json

import pandas as pd
import pytest

from cnnlab.errors import ConfigError
from cnnlab.experiments.normalization import importance
from cnnlab.experiments.sharing import filters
from cnnlab.experiments.stochastic_depth import step_time
from cnnlab.lab.claim import COSTS, EXACT
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import from_json
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan, resolve
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.lab.wiring import examine, unwired
from cnnlab.train.setup import prepare as setup_run
from tests.conftest import PROJECT
from tests.experiments.training import check_configs, train_variants

NAMES = sorted(p.parent.name for p in (PROJECT / "experiments").glob("*/experiment.py"))
SEGMENTATION = ("context", "crf", "fcn_skips", "focal")
DETECTION = ("detection_focal", "fpn", "proposals")
GO = ("go_features", "go_residual", "go_width")
EMBEDDINGS = ("few_labels", "one_shot")
OTHERS = ("downsampling_digits", "transfer", *SEGMENTATION, *DETECTION, *GO, *EMBEDDINGS)
CIFAR = [name for name in NAMES if name not in OTHERS]


def test_every_claim_of_the_lectures_on_classifiers_has_an_experiment():
  assert CIFAR == [
    "all_cnn",
    "cardinality",
    "centering",
    "densenet",
    "depth",
    "depth_cost",
    "filter_size",
    "inception",
    "lesions",
    "lrn",
    "normalization",
    "padding",
    "pooling",
    "sharing",
    "stochastic_depth",
    "strides",
  ]


@pytest.mark.parametrize("recipe", ["paper", "quick", "tiny", ""])
@pytest.mark.parametrize("name", CIFAR)
def test_every_variant_of_every_recipe_has_a_config_and_a_net(name, recipe):
  experiment = load_experiment(name, recipe)
  assert experiment.name == name
  assert experiment.recipe == (recipe or "quick")
  assert from_json(json.loads(json.dumps(experiment.to_json()))) == from_json(experiment.to_json())
  check_configs(experiment, "lesions" if name == "lesions" else "classification", 10)
  assert len(experiment.seeds) == (2 if recipe == "tiny" else 10 if name == "centering" else 5)


@pytest.mark.parametrize("recipe", ["paper", "quick"])
@pytest.mark.parametrize("name", CIFAR)
def test_every_setting_is_read(name, recipe, tmp_path):
  # Digits replace CIFAR-10, which is not available on every machine.
  data = {"data.name": "digits", "data.channels": 3, "data.train_examples": 1000}
  data |= {"data.eval_examples": 100, "data.image_size": 64 if name == "depth_cost" else 32}
  spec = plan(load_experiment(name, recipe), tmp_path, seeds=1)[-1]
  spec = dataclasses.replace(spec, overrides={**spec.overrides, **data})
  setup = setup_run(resolve(spec), spec.overrides)
  assert setup.plan.total_steps >= min(8, setup.plan.steps_per_epoch)


@pytest.mark.parametrize("name", CIFAR)
def test_claims_have_sources_and_errors_have_sensible_margins(name):
  for recipe in ("paper", "quick"):
    experiment = load_experiment(name, recipe)
    assert experiment.question.endswith("?")
    assert experiment.claims
    if recipe == "quick" and name != "depth_cost":
      assert experiment.tuning
      assert experiment.regime
    for claim in experiment.claims:
      assert claim.source
      assert claim.left != claim.right
      assert 0 <= claim.margin <= 0.02
      assert claim.margin or claim.relation not in ("<=", "==") or claim.metric in COSTS
    assert all(0.02 < figure.value < 0.4 for figure in experiment.paper.values())


def test_figures_are_those_of_the_papers(shared):
  table = json.loads((shared / "reference/papers/all_convolutional_net_1412.6806.json").read_text())
  rows = next(t["rows"] for t in table["tables"] if t["id"] == "table3")
  forms = {
    "Model": "base",
    "Strided-CNN": "strided",
    "ConvPool-CNN": "convpool",
    "All-CNN": "all_cnn",
  }
  published = {}
  for row in rows:
    form, _, base = row["model"].replace("Model ", "Model-").rpartition("-")
    published[f"{forms[form]}_{base.lower()}"] = row["value"] / 100
  paper = load_experiment("all_cnn", "paper").paper
  assert {label: figure.value for label, figure in paper.items()} == pytest.approx(published)
  table = json.loads((shared / "reference/papers/resnext_1611.05431.json").read_text())
  rows = next(t["rows"] for t in table["tables"] if t["id"] == "table3")
  paper = load_experiment("cardinality", "paper").paper
  for row in rows[:5]:
    label = f"c{row['variant']['C']}_d{row['variant']['d']}"
    assert paper[label].value == pytest.approx(row["value"] / 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", CIFAR)
def test_every_variant_trains_for_two_steps_and_is_judged(name, tmp_path):
  experiment = load_experiment(name, "tiny")
  train_variants(experiment, tmp_path)
  runs = collect(open_sweep(experiment, tmp_path, seeds=1))
  assert runs["value"].notna().all()
  assert (runs["multiply_adds"] > 0).all()
  for verdict in judge(experiment, runs):
    exact = verdict.claim.metric in EXACT
    assert exact or verdict.verdict in ("inconclusive", "not tested"), verdict
  if name == "sharing":
    filters.main(tmp_path / name)
    assert (tmp_path / name / "figures/filters.png").is_file()
  if name == "normalization":
    importance.main(tmp_path / name)
    drawn = pd.read_csv(tmp_path / name / "figures/switchable_importance.csv")
    assert set(drawn["batch_size"]) == {2, 16, 64}
    assert drawn[["instance", "layer", "batch"]].sum(axis=1).to_numpy() == pytest.approx(1)


def test_step_times_of_masked_and_skipped_blocks():
  experiment = load_experiment("stochastic_depth", "tiny")
  variants = {label: experiment.variants[label] for label in ("constant", "linear_0.5")}
  small = {**experiment.overrides, "model.blocks": 1}
  few = dataclasses.replace(experiment, variants=variants, overrides=small, claims=(), paper={})
  table = step_time.step_times(few, seconds=0.01, repeats=1)
  assert table["blocks"].tolist() == ["masked", "masked", "skipped"]
  # Three blocks with survival probabilities 5/6, 4/6 and 3/6.
  assert table["computed"].tolist() == pytest.approx([1, 2 / 3, 2 / 3])
  assert (table["step_ms"] > 0).all()
  (axes,) = step_time.step_time_figure(table).axes
  assert axes.get_xscale() == "log"
  assert "(ms" in axes.get_xlabel()


@pytest.mark.parametrize("name", ["centering", "pooling", "filter_size"])
def test_no_variant_of_the_smallest_nets_is_unwired(name, tmp_path):
  specs = plan(load_experiment(name, "tiny"), tmp_path, seeds=1)
  examined = examine(specs, workers=0)
  assert [one.error for one in examined] == [""] * len(specs)
  assert unwired(examined, specs) == []


def test_an_unknown_recipe_names_the_known_ones():
  with pytest.raises(ConfigError, match=r"'quik'.*did you mean 'quick'"):
    load_experiment("all_cnn", "quik")
