"""Images and label maps are augmented together: labels stay labels, and stay where their pixels are."""

import jax
import numpy as np
import pytest

from cnnlab.data import Feature
from cnnlab.data.augment import Preprocess
from cnnlab.data.features import IGNORED_LABEL
from cnnlab.data.transforms import Color, Crop, Erase, Flip, RandomResizedCrop, Scale

SIZE, KEY = (24, 32), jax.random.key(5)
FEATURES = {
  "image": Feature("image", (*SIZE, 3), "uint8"),
  "labels": Feature("label_map", SIZE, "uint8", tuple("abcd")),
}


def regions(count=12):
  """Label maps of four large rectangles, labels 0 to 3, and images of 40 times the label plus 60."""
  rng = np.random.default_rng(0)
  labels = np.zeros((count, *SIZE), np.uint8)
  for one in labels:
    row, column = rng.integers(8, 16), rng.integers(10, 22)
    one[:row, column:], one[row:, :column], one[row:, column:] = 1, 2, 3
  return {"image": np.repeat(60 + 40 * labels[..., None], 3, -1), "labels": labels}


def augmented(*transforms, image_size=SIZE):
  p = Preprocess(
    np.zeros(3, np.float32), np.ones(3, np.float32), SIZE, image_size, transforms, features=FEATURES
  )
  out = p.train(regions(), KEY)
  return np.asarray(out["image"])[..., 0], np.asarray(out["labels"])


@pytest.mark.parametrize(
  "transforms",
  [
    (Flip(),),
    (Crop(6), Flip()),
    (Scale(0.6, 1.7), Flip()),
    (Scale(0.7, 1.4), Crop(5)),
    (RandomResizedCrop(0.3),),
  ],
)
def test_labels_are_never_interpolated_and_stay_with_their_pixels(transforms):
  images, labels = augmented(*transforms)
  assert labels.dtype == np.uint8
  assert set(np.unique(labels)) <= {0, 1, 2, 3, IGNORED_LABEL}
  assert not np.array_equal(labels, regions()["labels"])
  # Where a pixel is not blended with its neighbors, it tells its label.
  plain = np.isclose(images % 40, 20, atol=1e-3) | np.isclose(images % 40, 60 % 40, atol=1e-3)
  plain &= images > 50
  assert plain.mean() > 0.25
  np.testing.assert_array_equal(labels[plain], np.round((images[plain] - 60) / 40))
  outside = images == 0
  assert (labels[outside] == IGNORED_LABEL).mean() > 0.95 if outside.any() else True


def test_crops_take_the_same_part_of_both():
  images, labels = augmented(image_size=(16, 20))
  assert labels.shape == (12, 16, 20)
  np.testing.assert_array_equal(labels, (images - 60) / 40)


@pytest.mark.parametrize("transforms", [(Color(0.4, 0.4, 0.4),), (Erase(1.0),)])
def test_colors_and_erasing_change_the_image_alone(transforms):
  images, labels = augmented(*transforms)
  assert not np.array_equal(images, regions()["image"][..., 0])
  np.testing.assert_array_equal(labels, regions()["labels"])
