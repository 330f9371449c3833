"""The experiments on embeddings: source runs, what each method trains, and that all are judged."""

import dataclasses
import json

import numpy as np
import pytest

from cnnlab import runs
from cnnlab.cli.main import main
from cnnlab.codes import Codes, Part
from cnnlab.config import apply_overrides, load_page
from cnnlab.experiments.few_labels.curves import bottleneck_errors
from cnnlab.experiments.few_labels.experiment import AMOUNTS, METHODS
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import from_json
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.tasks import task_settings
from cnnlab.train.setup import prepare
from tests.experiments.training import train_variants

FORMS = [
  *(("few_labels", recipe) for recipe in ("quick", "tiny", "")),
  *(("one_shot", recipe) for recipe in ("paper", "quick", "tiny", "")),
]


@pytest.mark.parametrize(("name", "recipe"), FORMS)
def test_every_variant_of_every_recipe_has_a_config(name, recipe):
  experiment = load_experiment(name, recipe)
  assert (experiment.name, experiment.recipe) == (name, recipe or "quick")
  assert from_json(json.loads(json.dumps(experiment.to_json()))) == from_json(experiment.to_json())
  page = load_page(experiment.config)
  for label in experiment.variants:
    config = apply_overrides(page, experiment.settings(label))
    task_settings(config.task.to_dict())
    if name == "few_labels":
      assert bool(config.init_from) != label.startswith("scratch")
  assert len(experiment.seeds) == (2 if recipe == "tiny" else 5)
  assert all(claim.source for claim in experiment.claims)


def test_few_labels_asks_for_every_amount_by_every_method():
  experiment = load_experiment("few_labels")
  assert len(experiment.variants) == len(METHODS) * len(AMOUNTS) * 2
  for label, own in experiment.variants.items():
    assert own["data.train_examples"] == int(label.rpartition("_")[2])
    assert own["data.train_examples"] % own["batch_size"] == 0


def test_the_code_itself_is_classified_with_the_labels_that_a_seed_draws():
  generator = np.random.default_rng(0)
  centers = 3 * generator.normal(size=(10, 16))
  parts = []
  for count in (600, 400):
    labels = generator.integers(0, 10, count).astype(np.int32)
    parts.append(Part(centers[labels] + generator.normal(size=(count, 16)), labels))
  found = bottleneck_errors(Codes("code", (16,), *parts, ()), [10, 200], [0, 1, 2])
  errors = found.pivot_table(index="seed", columns="amount", values="error")
  assert errors.shape == (3, 2)
  assert (errors[200] < 0.01).all()  # classes are 17 standard deviations apart
  assert (errors[10] < 0.2).all()
  assert errors[10].nunique() > 1


def test_every_setting_of_one_shot_is_read_on_omniglot(shared, tmp_path):
  spec = plan(load_experiment("one_shot", "quick"), tmp_path, seeds=1)[0]
  overrides = {**spec.overrides, "data.dir": str(shared / "data" / "tfds")}
  setup = prepare(apply_overrides(load_page(spec.config), overrides), overrides)
  try:
    assert setup.plan.steps_per_epoch == 2720 // 128
    assert setup.data.eval.num_examples == 2120
  finally:
    setup.data.close()


@pytest.mark.slow
def test_one_shot_trains_for_two_steps_and_is_judged(tmp_path):
  experiment = load_experiment("one_shot", "tiny")
  train_variants(experiment, tmp_path)
  found = collect(open_sweep(experiment, tmp_path, seeds=1))
  assert found["value"].notna().all()
  assert len(judge(experiment, found)) == len(experiment.claims)


@pytest.mark.slow
def test_each_method_trains_what_it_says_on_labels_of_its_seed(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  page = "--config=experiments/few_labels/source.py:tiny"
  assert main(["train", page, "--workdir=runs/few_labels_tiny"]) == 0
  experiment = load_experiment("few_labels", "tiny")
  # The other half differs in the data set, which digits stand for.
  experiment = dataclasses.replace(
    experiment,
    variants={label: own for label, own in experiment.variants.items() if "mnist" in label},
    claims=tuple(claim for claim in experiment.claims if "mnist" in claim.left),
  )
  train_variants(experiment, tmp_path / "runs")
  found = collect(open_sweep(experiment, tmp_path / "runs", seeds=1))
  assert found["value"].notna().all()
  assert len(judge(experiment, found)) == len(experiment.claims)
  source = runs.load("runs/few_labels_tiny").variables
  for method in METHODS:
    own = runs.load(f"runs/few_labels/{method}_mnist_10/seed0").variables
    given = source["params"]["encoder"]["block1_conv1"]["kernel"]
    moved = np.abs(own["params"]["block1_conv1"]["kernel"] - given).max()
    assert (moved == 0) == (method == "codes")
    assert (moved > 0.01) == (method == "scratch")
    means = (
      v["block1_norm1"]["mean"] for v in (own["batch_stats"], source["batch_stats"]["encoder"])
    )
    assert np.array_equal(*means) == (method == "codes")
