"""The experiment on transfer: its source run, its data, and that each method trains what it says."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cnnlab import runs
from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import DataSettings
from cnnlab.data.opening import open_sources
from cnnlab.errors import DataError
from cnnlab.experiments.transfer import curves
from cnnlab.experiments.transfer.crops import crop, open_crops
from cnnlab.experiments.transfer.experiment import AMOUNTS, METHODS, TARGETS
from cnnlab.experiments.transfer.halves import open_half
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import from_json
from cnnlab.lab.files import load_experiment
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.models import create_model
from cnnlab.weights import numbered_classes
from tests.experiments.training import train_variants


@pytest.mark.parametrize("recipe", ["quick", "tiny", ""])
def test_every_variant_of_every_recipe_has_a_config_and_a_net(recipe):
  experiment = load_experiment("transfer", recipe)
  assert from_json(json.loads(json.dumps(experiment.to_json()))) == from_json(experiment.to_json())
  assert len(experiment.variants) == len(METHODS) * len(TARGETS) * len(AMOUNTS)
  page = load_page(experiment.config)
  for label in experiment.variants:
    config = apply_overrides(page, experiment.settings(label))
    options = config.model.to_dict()
    create_model(options.pop("name"), num_classes=5, **options)
    assert bool(config.init_from) != label.startswith("scratch")
  assert len(experiment.seeds) == (2 if recipe == "tiny" else 5)
  assert experiment.question.endswith("?")
  assert all(claim.source for claim in experiment.claims)


def test_the_halves_share_no_class_and_miss_none():
  whole = open_sources(DataSettings(name="digits"))
  found = [open_half(f"{half}:digits", DataSettings()) for half in ("even", "odd")]
  for half, (train, evaluation) in enumerate(found):
    names = train.features["label"].names
    assert names == tuple(map(str, range(half, 10, 2))) == evaluation.features["label"].names
    examples = train.read(range(20), (8, 8), 1)
    assert [example["label"] for example in examples] == train.labels()[:20].tolist()
    place = np.flatnonzero(whole.train.labels() % 2 == half)[3]
    (same,) = whole.train.read([place], (8, 8), 1)
    np.testing.assert_array_equal(examples[3]["image"], same["image"])
    assert names[examples[3]["label"]] == str(same["label"])
  for part, split in enumerate((whole.train, whole.eval)):
    assert sum(len(half[part]) for half in found) == len(split)
  for wrong in ("evn:digits", "even"):
    with pytest.raises(DataError, match="half"):
      open_half(wrong, DataSettings())


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
  """The tiny form, its source run made by the command of the page; returns the sweep and the source."""
  folder = tmp_path_factory.mktemp("transfer")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    page = "--config=experiments/transfer/source.py:tiny"
    assert main(["train", page, "--workdir=runs/transfer_source"]) == 0
    experiment = load_experiment("transfer", "tiny")
    # A third of the variants is in no claim.
    claimed = {side for claim in experiment.claims for side in (claim.left, claim.right)}
    variants = {label: experiment.variants[label] for label in sorted({*claimed, experiment.base})}
    experiment = dataclasses.replace(experiment, variants=variants)
    train_variants(experiment, folder / "runs")
  return experiment, folder / "runs"


@pytest.mark.slow
def test_every_variant_trains_for_two_steps_and_is_judged(swept):
  experiment, root = swept
  found = collect(open_sweep(experiment, root, seeds=1))
  assert found["value"].notna().all()
  assert {one.verdict for one in judge(experiment, found)} <= {"inconclusive", "not tested"}
  curves.main(root / "transfer")
  table = pd.read_csv(root / "transfer/figures/transfer_curves.csv")
  assert set(table["amount"]) == {100, 5000}
  assert (root / "transfer/figures/transfer_curves.png").exists()


def test_each_method_trains_what_it_says(swept):
  _, root = swept
  source = runs.load(root / "transfer_source")
  given, statistics = source.variables["params"], source.variables["batch_stats"]
  kernel = given["stage1_block1"]["conv1"]["kernel"]
  moved = {}
  for method in METHODS:
    run = runs.load(root / "transfer" / f"{method}_similar_5000/seed0")
    own = run.variables["params"]["encoder"]["stage1_block1"]["conv1"]["kernel"]
    moved[method] = np.abs(own - kernel).max()
    same = np.array_equal(
      run.variables["batch_stats"]["encoder"]["norm1"]["mean"], statistics["norm1"]["mean"]
    )
    assert same == (method in ("codes", "earlier"))
    preprocess = run.trained.preprocess
    assert np.array_equal(preprocess.mean, source.trained.preprocess.mean) == (method != "scratch")
  assert moved["codes"] == moved["earlier"] == 0
  assert 0 < moved["tuned"] < 0.05 < moved["scratch"]
  assert list(source.config.derived.class_names) != numbered_classes(5)


def test_a_crop_lies_within_the_image_and_has_a_pixel_of_the_mask_in_its_middle():
  image = np.arange(9 * 12 * 1, dtype=np.uint8).reshape(9, 12, 1)
  mask = np.zeros((9, 12), bool)
  mask[[0, 4, 8], [6, 5, 1]] = True
  for side in (4, 5):
    part = crop(image, mask, side, np.random.default_rng(0))
    assert part.shape == (side, side, 1)
    assert part[side // 2, side // 2] == image[4, 5]
  assert crop(image, mask, 10, np.random.default_rng(0)) is None


def test_crops_are_labelled_with_the_class_in_their_middle():
  name = "scenes:train=6,eval=4,height=32,width=32,clutter=0"
  plain = open_sources(DataSettings(name=name))
  crops = open_crops(f"9:{name}", DataSettings())
  for split, whole in zip(crops, (plain.train, plain.eval), strict=True):
    scene_map = next(key for key, one in whole.features.items() if one.kind == "label_map")
    scenes = whole.read(range(len(whole)), None, 3)
    assert split.features["label"].names == whole.features[scene_map].names
    assert len(whole) < len(split) <= sum(len(np.unique(one[scene_map])) for one in scenes)
    for example in split.read(range(len(split)), None, 3):
      places = [
        one[scene_map][row + 4, column + 4]
        for one in scenes
        for row, column in np.ndindex(24, 24)
        if np.array_equal(one["image"][row : row + 9, column : column + 9], example["image"])
      ]
      assert example["label"] in places


@pytest.mark.parametrize("rest", ["", "9", "x:scenes", "0:scenes", "9:digits", "200:scenes"])
def test_crops_that_cannot_be_are_told(rest):
  with pytest.raises(DataError, match="crops"):
    open_crops(rest, DataSettings())
