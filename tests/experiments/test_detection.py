"""The detection experiments: configs resolve, claims have the papers' figures, detectors train."""

import dataclasses
import json

import jax
import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan, resolve
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.models import create_model
from cnnlab.train.setup import prepare
from tests.experiments.training import check_configs, train_variants

NAMES = ("detection_focal", "fpn")
RECIPES = ("paper", "quick", "scenes", "tiny", "")


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_of_every_recipe_has_a_config_and_a_net(name, recipe):
  experiment = load_experiment(name, recipe)
  assert (experiment.name, experiment.recipe) == (name, recipe or "quick")
  check_configs(experiment, "detection", 4)
  assert len(experiment.seeds) == (2 if recipe == "tiny" else 3)
  assert bool(experiment.tuning) == (recipe in ("quick", "scenes", ""))
  assert all(claim.source for claim in experiment.claims)


def test_figures_are_those_of_the_papers(shared):
  papers = json.loads((shared / "reference/papers/focal_loss_1708.02002.json").read_text())
  tables = {table["id"]: table["rows"] for table in papers["tables"]}
  paper = load_experiment("detection_focal", "paper").paper
  for label, alpha in (("cross_entropy", 0.5), ("weighted", 0.75)):
    row = next(row for row in tables["table1a"] if row["variant"]["alpha"] == alpha)
    assert paper[label].value == pytest.approx(row["value"] / 100)
  for gamma in (0.5, 1.0, 2.0, 5.0):
    row = next(row for row in tables["table1b"] if row["variant"]["gamma"] == gamma)
    assert paper[f"focal{gamma:g}"].value == pytest.approx(row["value"] / 100)
    settings = load_experiment("detection_focal", "paper").variants[f"focal{gamma:g}"]
    assert settings == {"task.gamma": gamma, "task.alpha": row["variant"]["alpha"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_read_on_blood_cells(name, shared, tmp_path):
  for spec in plan(load_experiment(name, "quick"), tmp_path, seeds=1)[-2:]:
    overrides = {**spec.overrides, "data.dir": str(shared / "data" / "tfds")}
    setup = prepare(apply_overrides(load_page(spec.config), overrides), overrides)
    assert len(setup.program.task.class_names) == 3
    setup.data.close()


def test_variants_of_the_pyramid_have_the_same_sizes_of_anchors(tmp_path):
  sides = {}
  for spec in plan(load_experiment("fpn", "scenes"), tmp_path, seeds=1):
    options = resolve(spec).model.to_dict()
    net = create_model(options.pop("name"), num_classes=11, **options)
    found = {}

    def run(x, net=net, found=found):
      out, _ = net.init_with_output(jax.random.key(0), x, train=False)[0]
      found["anchors"] = out.anchors

    jax.eval_shape(run, jax.ShapeDtypeStruct((1, 64, 64, 3), "float32"))
    boxes = [box for level in found["anchors"] for box in level]
    sides[spec.label] = {tuple(box[2:] - box[:2]) for box in boxes}
  assert sides["pyramid"] == sides["bottom_up"] == sides["fine"] == sides["coarse"]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "labels"),
  [("detection_focal", ("focal2", "sampled")), ("fpn", ("pyramid", "coarse"))],
)
def test_variants_train_for_two_steps_and_are_judged(name, labels, tmp_path):
  whole = load_experiment(name, "tiny")
  experiment = dataclasses.replace(
    whole,
    variants={label: whole.variants[label] for label in labels},
    base=labels[0],
    paper={},
    claims=tuple(c for c in whole.claims if {c.left, c.right} <= set(labels)),
  )
  assert experiment.claims
  train_variants(experiment, tmp_path)
  runs = collect(open_sweep(experiment, tmp_path, seeds=1))
  assert runs["value"].notna().all()
  assert len(judge(experiment, runs)) == len(experiment.claims)
