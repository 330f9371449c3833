"""The experiment on random fields: one trained network for three variants, figures, verdicts."""

import json

import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.crf import read_crf
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.train.setup import prepare
from tests.experiments.training import train_variants


@pytest.mark.parametrize("recipe", ["paper", "quick", "scenes", "tiny", ""])
def test_variants_differ_in_the_field_alone(recipe):
  experiment = load_experiment("crf", recipe)
  assert (experiment.name, experiment.recipe) == ("crf", recipe or "quick")
  assert {key for one in experiment.variants.values() for key in one} == {"task.crf"}
  # Another learning rate for a variant would be another network.
  assert experiment.tuning is None
  for label, overrides in experiment.variants.items():
    if overrides["task.crf"]:
      field = read_crf(overrides["task.crf"], "task.crf")
      assert (field.learned == "nothing") == (label != "grid_learned")
  assert all(claim.source for claim in experiment.claims)


def test_figures_are_those_of_the_paper(shared):
  papers = json.loads((shared / "reference/papers/deeplab_v1_1412.7062.json").read_text())
  rows = next(table["rows"] for table in papers["tables"] if table["id"] == "table1a")
  values = {row["model"]: row["value"] / 100 for row in rows}
  paper = load_experiment("crf", "paper").paper
  assert paper["raw"].value == pytest.approx(values["DeepLab"])
  assert paper["fully_connected"].value == pytest.approx(values["DeepLab-CRF"])


def test_every_setting_is_read_on_camvid(shared, tmp_path):
  spec = plan(load_experiment("crf", "quick"), tmp_path, seeds=1)[-1]
  overrides = {**spec.overrides, "data.dir": str(shared / "data" / "tfds")}
  setup = prepare(apply_overrides(load_page(spec.config), overrides), overrides)
  try:
    assert setup.plan.total_steps == 40 * (367 // 8)
  finally:
    setup.data.close()


@pytest.mark.slow
def test_three_variants_are_one_trained_network_and_all_are_judged(tmp_path):
  experiment = load_experiment("crf", "tiny")
  train_variants(experiment, tmp_path)
  losses, scores = {}, {}
  for label in experiment.variants:
    text = (tmp_path / f"crf/{label}/seed0/metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    losses[label] = [row["train/loss"] for row in rows if "train/loss" in row]
    scores[label] = rows[-1]["eval/cross_entropy"]
  assert losses["raw"] == losses["grid"] == losses["fully_connected"] != losses["grid_learned"]
  assert len(set(scores.values())) == 4
  runs = collect(open_sweep(experiment, tmp_path, seeds=1))
  assert runs["value"].notna().all()
  assert len(judge(experiment, runs)) == len(experiment.claims)
