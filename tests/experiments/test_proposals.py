"""The experiment on proposals: its recipes resolve, and its three detectors train and are judged."""

import dataclasses
import json

import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.data.scenes import open_scenes
from cnnlab.experiments.proposals import sliding
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.files import load_experiment
from cnnlab.lab.results import collect
from tests.experiments.training import train_variants


@pytest.mark.parametrize("recipe", ["quick", "bccd", ""])
def test_every_variant_of_every_recipe_has_a_config(recipe):
  experiment = load_experiment("proposals", recipe)
  assert (experiment.name, experiment.recipe) == ("proposals", recipe or "quick")
  page = load_page(experiment.config)
  configs = {v: apply_overrides(page, experiment.settings(v)) for v in experiment.variants}
  assert {v: c.task.name for v, c in configs.items()} == {
    "rcnn": "region_detection", "fast": "region_detection", "fast_stride4": "region_detection",
    "faster": "detection",
  }  # fmt: skip
  maps = {v: c.model.one_map for v, c in configs.items()}
  assert maps.pop("fast_stride4") == 4
  assert set(maps.values()) == {8}
  assert len({(c.model.width, c.model.hidden) for c in configs.values()}) == 1
  assert len(experiment.seeds) == 3
  assert all(claim.source for claim in experiment.claims)


@pytest.mark.slow
def test_variants_train_for_two_steps(tmp_path):
  """That of Fast R-CNN is the config page, which another test trains."""
  pytest.importorskip("skimage")
  pytest.importorskip("pycocotools")
  whole = load_experiment("proposals", "tiny")
  variants = {label: whole.variants[label] for label in ("rcnn", "faster")}
  experiment = dataclasses.replace(
    whole, variants=variants, base="rcnn", paper={}, claims=(), regime=()
  )
  train_variants(experiment, tmp_path)
  runs = collect(open_sweep(experiment, tmp_path, seeds=1)).set_index("variant")
  assert runs["value"].notna().all()
  assert runs["multiply_adds"]["rcnn"] > 10 * runs["multiply_adds"]["faster"]


def test_windows_show_digits_and_background():
  source = open_scenes("train=6,eval=2,height=64,width=64,boxes=true,clutter=0")[0]
  images, labels = sliding.windows_of(source, 6)
  assert images.shape[1:] == (24, 24, 3)
  digits = sum(len(source.scene(i)["boxes"]) for i in range(6))
  background = len(sliding.NAMES) - 1
  assert (labels == background).sum() == 6 * sliding.BACKGROUNDS
  assert (labels != background).sum() == 2 * digits
  # Ink is bright, and the background is not, but for parts of digits.
  bright = (images.max(axis=(-1)) > 140).mean(axis=(1, 2))
  assert bright[labels != background].mean() > 2 * bright[labels == background].mean()


def test_the_sliding_classifier_is_trained_and_measured(tmp_path):
  pytest.importorskip("pycocotools")
  sliding.main(tmp_path, "train=20,eval=4,height=64,width=64,boxes=true", count=2, epochs=2.0)
  scores = json.loads((tmp_path / "figures" / "sliding.json").read_text())
  assert 0 <= scores["map50"] <= 1
  assert 0 < scores["error of windows"] <= 1
