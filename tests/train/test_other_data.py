"""A run is evaluated on another data set than its own: every image of it, in the sizes of the training."""

import numpy as np
import pytest
from PIL import Image

from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import DataError
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

SEEN = 18


def write(root, count, side, classes=("dark", "light"), seed=0):
  """`count` images of each class in flat class folders: noise, dark or light."""
  rng = np.random.default_rng(seed)
  for label, name in enumerate(classes):
    (root / name).mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 100, (side, side, 3), dtype=np.uint8) + np.uint8(120 * label)
      Image.fromarray(pixels).save(root / name / f"{i}.png")
  return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run on a flat folder, of which the fifth is held out; returns (directory, last row)."""
  root = tmp_path_factory.mktemp("seen")
  overrides = {
    "data.name": f"folder:{write(root / 'set', SEEN, 8)}",
    "data.eval_examples": 4,
    "batch_size": 16,
    "eval_batch_size": 8,
    "data.crop_padding": 0,
    "max_steps": 12,
    "log_every_steps": 12,
  }
  config = apply_overrides(load_page("configs/digits.py:tiny"), overrides)
  return root / "run", train(config, root / "run", asked=overrides)


def test_its_own_set_is_divided_as_in_training(run):
  directory, row = run
  assert row["eval/count"] == 4
  again = evaluate_run(directory)
  assert again["eval/count"] == 4
  assert again["eval/cross_entropy"] == pytest.approx(row["eval/cross_entropy"], rel=1e-5)


def test_every_image_of_another_flat_folder_is_scored(run, tmp_path):
  directory, _ = run
  folder = write(tmp_path / "new", 3, 11, seed=1)  # fewer than a batch, and of another size
  name = f"folder:{folder}"
  assert evaluate_run(directory, {"data.name": name})["eval/count"] == 6
  asked = {"data.name": name, "data.eval_fraction": 0.34}
  assert evaluate_run(directory, asked)["eval/count"] == 2


def test_a_set_with_a_split_of_its_own_is_scored_on_that(run, tmp_path):
  write(tmp_path / "new" / "train", 2, 8)
  write(tmp_path / "new" / "val", 5, 8, seed=2)
  directory, _ = run
  assert evaluate_run(directory, {"data.name": f"folder:{tmp_path}/new"})["eval/count"] == 10


def test_the_score_is_that_of_the_same_images_one_by_one(run, tmp_path):
  """The whole set against its halves, which are evaluated on their own."""
  directory, _ = run
  rng = np.random.default_rng(3)
  images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
  labels = np.array(["dark", "light"])[np.arange(10) % 2]

  def loss(rows):
    np.savez(tmp_path / "set.npz", images=images[rows], labels=labels[rows])
    found = evaluate_run(directory, {"data.name": f"npz:{tmp_path}/set.npz"})
    assert found["eval/count"] == len(images[rows])
    return found["eval/cross_entropy"]

  halves = [loss(slice(0, 4)), loss(slice(4, 10))]
  assert loss(slice(0, 10)) == pytest.approx((4 * halves[0] + 6 * halves[1]) / 10, rel=1e-5)


def test_other_classes_are_refused(run, tmp_path):
  directory, _ = run
  folder = write(tmp_path / "new", 3, 8, classes=("dark", "bright"))
  with pytest.raises(
    DataError, match="has the classes bright, dark; the run was trained on dark, light"
  ):
    evaluate_run(directory, {"data.name": f"folder:{folder}"})
