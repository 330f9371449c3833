"""The segmentation experiments: configs resolve, claims have the papers' figures, nets train."""

import json

import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.lab.claim import COSTS
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan, resolve
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.models import create_model
from cnnlab.nn.cost import count_parameters
from cnnlab.train.setup import prepare, variable_shapes
from tests.experiments.training import check_configs, train_variants

RECIPES = {
  "fcn_skips": ("paper", "quick", "scenes", "tiny", ""),
  "context": ("paper", "quick", "scenes", "tiny", ""),
  "focal": ("paper", "quick", "tiny", ""),
}
FORMS = [(name, recipe) for name, recipes in RECIPES.items() for recipe in recipes]


@pytest.mark.parametrize(("name", "recipe"), FORMS)
def test_every_variant_of_every_recipe_has_a_config_and_a_net(name, recipe):
  experiment = load_experiment(name, recipe)
  assert (experiment.name, experiment.recipe) == (name, recipe or "quick")
  check_configs(experiment, "segmentation", 11)
  assert len(experiment.seeds) == (2 if recipe == "tiny" else 5)
  assert bool(experiment.tuning) == (recipe in ("quick", "scenes", ""))


@pytest.mark.parametrize("name", RECIPES)
def test_claims_have_sources(name):
  experiment = load_experiment(name, "quick")
  assert experiment.question.endswith("?")
  for claim in experiment.claims:
    assert claim.source
    assert claim.margin or claim.relation not in ("<=", "==") or claim.metric in COSTS


def test_figures_are_those_of_the_papers(shared):
  def table(paper, wanted):
    papers = json.loads((shared / f"reference/papers/{paper}.json").read_text())
    return next(t["rows"] for t in papers["tables"] if t["id"] == wanted)

  rows = {row["model"]: row["value"] / 100 for row in table("fcn_1411.4038", "table2")}
  paper = load_experiment("fcn_skips", "paper").paper
  for label, model in (("fcn32s", "FCN-32s"), ("fcn16s", "FCN-16s"), ("fcn8s", "FCN-8s")):
    assert paper[label].value == pytest.approx(rows[model])
  context = load_experiment("context", "paper")
  paper = context.paper
  for row in table("deeplabv3_1706.05587", "table1"):
    stride = row["variant"]["output_stride"]
    if stride <= 32:
      assert paper[f"stride{stride}"].value == pytest.approx(row["value"] / 100)
  rows = {row["model"]: row["value"] for row in table("pspnet_1612.01105", "table1")}
  baseline = rows["ResNet50-Baseline"]
  average, largest = rows["+B1236+AVE"], rows["+B1236+MAX"]
  sources = {claim.text: claim.source for claim in context.claims}
  assert f"{average} against {baseline}" in sources["pyramid pooling helps"]
  assert f"{average} against {largest}" in sources["average pooling is better than max pooling"]


def test_output_strides_differ_at_equal_parameters(tmp_path):
  counts = {}
  for spec in plan(load_experiment("context", "quick"), tmp_path, seeds=1):
    options = resolve(spec).model.to_dict()
    model = create_model(options.pop("name"), num_classes=11, **options)
    counts[spec.label] = count_parameters(variable_shapes(model, (60, 80, 3))["params"])
  assert counts["stride8"] == counts["stride16"] == counts["stride32"] < counts["psp"]
  assert counts["psp"] == counts["psp_max"]


@pytest.mark.parametrize("name", ["fcn_skips", "context"])
def test_every_setting_is_read_on_camvid(name, shared, tmp_path):
  spec = plan(load_experiment(name, "quick"), tmp_path, seeds=1)[-1]
  overrides = {**spec.overrides, "data.dir": str(shared / "data" / "tfds")}
  setup = prepare(apply_overrides(load_page(spec.config), overrides), overrides)
  try:
    assert setup.program.task.class_names[-1] == "bicyclist"
    assert setup.plan.total_steps == 40 * (367 // 8)
  finally:
    setup.data.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_variant_trains_for_two_steps_and_is_judged(name, tmp_path):
  experiment = load_experiment(name, "tiny")
  train_variants(experiment, tmp_path)
  runs = collect(open_sweep(experiment, tmp_path, seeds=1))
  assert runs["value"].notna().all()
  verdicts = judge(experiment, runs)
  assert len(verdicts) == len(experiment.claims)
