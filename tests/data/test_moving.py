"""Boxes are augmented with their images: checked against a loop, and against the pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.data import Feature
from cnnlab.data.augment import Preprocess
from cnnlab.data.transforms import (
  AxisMap,
  Color,
  Crop,
  Erase,
  Flip,
  GeometricTransform,
  RandomResizedCrop,
  Scale,
)
from cnnlab.errors import DataError

SIZE, MOST, COUNT, KEY = (40, 56), 6, 8, jax.random.key(3)
FEATURES = {
  "image": Feature("image", (*SIZE, 3), "uint8"),
  "boxes": Feature("boxes", (MOST, 4), "float32"),
  "box_labels": Feature("vector", (MOST,), "int32", tuple("abcdef")),
}


def batch():
  """Up to six boxes in each image, with whole numbers; those of an image do not overlap."""
  random = np.random.default_rng(1)
  boxes, valid = np.zeros((COUNT, MOST, 4), np.float32), np.zeros((COUNT, MOST), bool)
  images = np.zeros((COUNT, *SIZE, 3), np.uint8)
  for i in range(COUNT):
    for j in range(random.integers(2, MOST + 1)):
      top, left = (j // 3) * 20 + random.integers(0, 6), (j % 3) * 18 + random.integers(0, 4)
      bottom, right = top + random.integers(5, 14), left + random.integers(5, 14)
      boxes[i, j], valid[i, j] = (top, left, bottom, right), True
      images[i, top:bottom, left:right] = 40 * (j + 1)
  labels = np.tile(np.arange(MOST, dtype=np.int32), (COUNT, 1))
  return {"image": images, "boxes": boxes, "boxes_valid": valid, "box_labels": labels}


def preprocess(*transforms, image_size=SIZE, least=0.0, **options):
  return Preprocess(
    np.zeros(3, np.float32), np.ones(3, np.float32), SIZE, image_size, transforms, features=FEATURES,
    min_visibility=least, **options,
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fixed(GeometricTransform):
  """Shows the same part of each image: rows from `top`, columns from `left`, `step` apart."""

  top: float = 0.0
  left: float = 0.0
  step: float = 1.0

  def to_json(self):
    return {"name": "fixed"}

  @property
  def name(self):
    return "fixed"

  def draw(self, key, size, target):
    start = jnp.array([self.top, self.left])
    return AxisMap(start + self.step / 2 - 0.5, jnp.full(2, self.step))


@pytest.mark.parametrize("least", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("part", [(0, 0, 1), (7, 9.5, 1), (-6, 11, 1), (5, 3, 0.5), (-20, -9, 2)])
def test_boxes_are_clipped_and_dropped_as_a_loop_does(part, least):
  given = batch()
  out = preprocess(Fixed(*part), least=least).train(given, KEY)
  dropped = 0
  for i in range(COUNT):
    for j in range(MOST):
      edges = [
        (float(edge) - start) / part[2]
        for edge, start in zip(given["boxes"][i, j], 2 * part[:2], strict=True)
      ]
      clipped = [min(max(edge, 0), limit) for edge, limit in zip(edges, 2 * SIZE, strict=True)]
      area, whole = (max(0, e[2] - e[0]) * max(0, e[3] - e[1]) for e in (clipped, edges))
      kept = bool(given["boxes_valid"][i, j]) and area > 0 and area >= least * whole
      dropped += bool(given["boxes_valid"][i, j]) and not kept
      assert bool(out["boxes_valid"][i, j]) == kept
      np.testing.assert_allclose(out["boxes"][i, j], clipped if kept else [0] * 4, atol=1e-4)
  np.testing.assert_array_equal(out["box_labels"], given["box_labels"])
  assert dropped or part in [(0, 0, 1), (-20, -9, 2)]  # which show all


@pytest.mark.parametrize(
  "transforms",
  [(Flip(),), (Crop(9), Flip()), (Scale(0.6, 1.7), Flip()), (Scale(0.7, 1.4), Crop(7)),
   (RandomResizedCrop(0.3),)],
)  # fmt: skip
def test_boxes_stay_around_their_pixels(transforms):
  given, visible = batch(), 0
  out = preprocess(*transforms).train(given, KEY)
  assert not np.array_equal(out["boxes"], given["boxes"])
  for i in range(COUNT):
    for j in range(MOST):
      # Blended pixels at its border have other colors, and lie within a pixel of the box.
      rows, columns = np.nonzero(np.abs(out["image"][i, ..., 0] - 40 * (j + 1)) < 1e-2)
      if not out["boxes_valid"][i, j]:
        assert len(rows) <= 2 * max(SIZE)  # a sliver, or the blend of others
        continue
      top, left, bottom, right = np.asarray(out["boxes"][i, j])
      assert bottom <= SIZE[0]
      assert right <= SIZE[1]
      middle = out["image"][i, int((top + bottom) / 2), int((left + right) / 2), 0]
      if min(bottom - top, right - left) > 3:
        visible += 1
        assert abs(middle - 40 * (j + 1)) < 1e-2
        own = (
          (rows >= top - 1) & (rows < bottom + 1) & (columns >= left - 1) & (columns < right + 1)
        )
        assert abs(rows[own].min() + rows[own].max() + 1 - top - bottom) <= 2
        assert abs(columns[own].min() + columns[own].max() + 1 - left - right) <= 2
  assert visible > COUNT


@pytest.mark.parametrize("transforms", [(Color(0.4, 0.4, 0.4),), (Erase(1.0),)])
def test_colors_and_erasing_change_the_image_alone(transforms):
  given = batch()
  out = preprocess(*transforms, least=1.0).train(given, KEY)
  assert not np.array_equal(out["image"], given["image"])
  for name in ("boxes", "boxes_valid", "box_labels"):
    np.testing.assert_array_equal(out[name], given[name])


def test_an_evaluation_clips_but_drops_nothing_that_is_visible():
  given = batch()
  p = preprocess(image_size=(20, 28), least=1.0)
  out, seen = p.eval(given), p.seen(given)
  shown = np.clip(given["boxes"] - [10, 14, 10, 14], 0, [20, 28, 20, 28])
  valid = given["boxes_valid"] & (shown[..., 2:] > shown[..., :2]).all(-1)
  for found in (out, seen):
    np.testing.assert_array_equal(found["boxes_valid"], valid)
    np.testing.assert_array_equal(found["boxes"], shown * valid[..., None])
  np.testing.assert_array_equal(seen["image"], out["image"])
  assert valid.sum() < given["boxes_valid"].sum()


def test_it_is_kept_with_a_checkpoint():
  p = preprocess(least=0.4)
  assert Preprocess.from_parts(p.settings(), p.arrays()).min_visibility == 0.4
  earlier = {key: value for key, value in p.settings().items() if key != "min_visibility"}
  assert Preprocess.from_parts(earlier, p.arrays()).min_visibility == 0


def test_objects_are_not_mirrored_without_their_boxes():
  with pytest.raises(DataError, match="'reflect' would show mirror images of objects"):
    preprocess(Crop(3, "reflect"))
