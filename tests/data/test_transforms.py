"""Transforms against loops over examples with the same draws, and against SciPy's interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from cnnlab.data import Feature
from cnnlab.data.augment import Preprocess
from cnnlab.data.features import IGNORED_LABEL, fit_example, fit_label_map
from cnnlab.data.images import fit_array
from cnnlab.data.mixing import MIXES, Cutmix, Mixup
from cnnlab.data.sampling import Sampler
from cnnlab.data.transforms import (
  TRANSFORMS,
  AxisMap,
  Color,
  Crop,
  Erase,
  Flip,
  RandomResizedCrop,
  Scale,
  from_json,
  parse,
)
from cnnlab.errors import CnnlabError, DataError

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 9, 8, 3), np.uint8)
FEATURES = {
  "image": Feature("image", (9, 8, 3), "uint8"),
  "label": Feature("label", (), "int32", tuple("abcd")),
  "map": Feature("label_map", (9, 8), "uint8", tuple("abcd")),
  "boxes": Feature("boxes", (2, 4), "float32"),
  "vector": Feature("vector", (3,), "float32"),
}
BATCH = {
  "image": IMAGES,
  "label": RNG.integers(0, 4, 6).astype(np.int32),
  "map": RNG.integers(0, 4, (6, 9, 8)).astype(np.uint8),
  "boxes": np.tile(np.array([[2, 1, 6, 5], [0, 0, 0, 0]], np.float32), (6, 1, 1)),
  "boxes_valid": np.tile(np.array([True, False]), (6, 1)),
  "vector": np.ones((6, 3), np.float32),
}


def preprocess(*transforms, size=(9, 8), mix=(), features=FEATURES, stored=(9, 8)):
  return Preprocess(
    np.zeros(3, np.float32), np.ones(3, np.float32), stored, size, transforms, mix,
    features=features,
  )  # fmt: skip


def test_interpolation_is_scipys():
  offset = np.array([[0.3, -0.6], [2.0, 1.25]], np.float32)
  step = np.array([[0.7, 1.1], [0.5, 0.5]], np.float32)
  sampler = Sampler(AxisMap(jnp.array(offset), jnp.array(step)), (9, 8), (7, 6), "constant")
  found = sampler.blend(IMAGES[:2].astype(np.float32))
  for i in range(2):
    rows = offset[i, 0] + step[i, 0] * np.arange(7)
    columns = offset[i, 1] + step[i, 1] * np.arange(6)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    for channel in range(3):
      want = scipy.ndimage.map_coordinates(
        IMAGES[i, ..., channel].astype(float), grid, order=1, mode="grid-constant"
      )
      np.testing.assert_allclose(found[i, ..., channel], want, atol=1e-3)


def test_all_features_move_alike():
  """A picture of the box moves to where the box moves."""
  images = np.zeros((6, 9, 8, 3), np.uint8)
  images[:, 2:6, 1:5] = 255
  batch = BATCH | {"image": images, "map": images[..., 0] // 255}
  for transforms in ((Crop(3), Flip()), (Flip(), Scale(0.7, 1.6)), (RandomResizedCrop(0.3),)):
    out = jax.jit(preprocess(*transforms).train)(batch, KEY)
    for i in range(6):
      top, left, bottom, right = np.asarray(out["boxes"][i, 0])
      rows, columns = np.mgrid[:9, :8] + 0.5
      inside = (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
      shown = np.asarray(out["image"][i, ..., 0])
      assert np.abs(shown / 255 - inside).mean() < 0.15, transforms
      mapped = np.asarray(out["map"][i])
      assert (mapped[inside] != 0).mean() > 0.7 or not inside.any()
      assert bool(out["boxes_valid"][i, 0]) == bool(bottom > top and right > left)
    np.testing.assert_array_equal(out["boxes_valid"][:, 1], False)
    np.testing.assert_array_equal(out["vector"], batch["vector"])


def test_what_lies_outside_is_ignored_in_a_label_map():
  out = preprocess(Crop(4)).train(BATCH, KEY)
  assert (np.asarray(out["map"]) == IGNORED_LABEL).any()
  moved = preprocess(Scale(0.5, 0.5)).train(BATCH, KEY)
  assert (np.asarray(moved["map"])[:, 0] == IGNORED_LABEL).all()


def test_neutral_settings_change_nothing():
  plain = np.asarray(preprocess().eval(IMAGES))
  for one in (Scale(1.0, 1.0), Color(), Erase(probability=0.0), Crop()):
    np.testing.assert_allclose(preprocess(one).train(IMAGES, KEY), plain, atol=1e-3)


def test_color_changes_pixels_and_stays_in_range():
  out = np.asarray(preprocess(Color(0.5, 0.5, 0.5)).train(IMAGES, KEY))
  assert not np.allclose(out, IMAGES)
  assert out.min() >= 0
  assert out.max() <= 255
  grey = np.repeat(IMAGES[..., :1], 3, -1)
  found = np.asarray(preprocess(Color(saturation=0.9)).train(grey, KEY))
  np.testing.assert_allclose(found, grey, atol=1e-2)


def test_erasing_leaves_one_rectangle_of_zeros():
  ones = np.full((200, 9, 8, 3), 255, np.uint8)
  out = np.asarray(preprocess(Erase(0.5, 0.1, 0.3)).train(ones, KEY))[..., 0] == 0
  erased = out.any((1, 2))
  assert 0.35 < erased.mean() < 0.65
  for mask in out[erased]:
    rows, columns = mask.any(1), mask.any(0)
    np.testing.assert_array_equal(mask, rows[:, None] & columns[None, :])


@pytest.mark.parametrize(
  "transforms", [(Crop(2), Flip()), (Scale(), Erase()), (Color(0.3), Flip())]
)
def test_draws_belong_to_the_example(transforms):
  train = jax.jit(preprocess(*transforms).train)
  whole = train(IMAGES, KEY)
  parts = [train(IMAGES[:2], KEY), train(IMAGES[2:], KEY, offset=2)]
  np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-4)


MIXABLE = {k: FEATURES[k] for k in ("image", "label", "vector")}


@pytest.mark.parametrize("mix", [Mixup(1.0), Cutmix(1.0)])
def test_mixed_labels_weigh_as_the_pixels_do(mix):
  # Image i is i + 1 everywhere, and of class i: pixels tell whose they are.
  images = np.broadcast_to(np.arange(1, 5, dtype=np.uint8)[:, None, None, None], (4, 9, 8, 3))
  batch = {"image": images, "label": np.arange(4), "vector": np.ones((4, 3))}
  out = preprocess(mix=(mix,), features=MIXABLE).train(batch, KEY)
  label = np.asarray(out["label"])
  np.testing.assert_allclose(label.sum(1), 1, rtol=1e-5)
  assert (label.max(1) < 1).any()
  np.testing.assert_allclose(
    np.asarray(out["image"]).mean((1, 2, 3)), label @ np.arange(1, 5), rtol=1e-4
  )


def test_cutmix_pastes_label_maps_where_it_pastes_pixels():
  features = {k: FEATURES[k] for k in ("image", "map")}
  images = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 9, 8, 3))
  out = preprocess(mix=(Cutmix(),), features=features).train(
    {"image": images, "map": images[..., 0]}, KEY
  )
  np.testing.assert_array_equal(np.asarray(out["image"])[..., 0], out["map"])
  with pytest.raises(DataError, match="mixup cannot mix the feature 'map'"):
    preprocess(mix=(Mixup(),), features=features)


@pytest.mark.parametrize("one", [*(cls() for cls in TRANSFORMS.values())])
def test_values_survive_json_and_settings_rebuild_them(one):
  assert from_json(one.to_json(), TRANSFORMS, "x") == one
  p = preprocess(one, mix=(Cutmix(0.7),), features=MIXABLE, size=(8, 8), stored=(8, 8))
  again = Preprocess.from_parts(p.settings(), p.arrays())
  assert (again.transforms, again.mix, again.features) == (p.transforms, p.mix, p.features)


def test_texts_are_parsed():
  assert parse("scale(low=0.5, high=2)", TRANSFORMS, "k") == Scale(0.5, 2.0)
  assert parse("flip", TRANSFORMS, "k") == parse("flip()", TRANSFORMS, "k") == Flip()
  assert parse("mixup(alpha=0.3)", MIXES, "k") == Mixup(0.3)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("scal(low=1)", "k: unknown transform 'scal'; did you mean 'scale'"),
    ("scale(lo=1)", "unknown argument 'lo' of scale; did you mean 'low'"),
    ("scale(low='a')", "'a'; allowed: float"),
    ("scale(low=2.0, high=1.0)", "allowed: low up to high"),
    ("scale(0.5)", "cannot read"),
    ("__import__('os').getcwd()", "cannot read"),
    ("scale(low=", "cannot read"),
    ("color(brightness=2.0)", "color.brightness' is 2.0; allowed: float from 0 to 1"),
    ("erase(probability=1.5)", "erase.probability' is 1.5; allowed: float from 0 to 1"),
    (
      "random_resized_crop(area=0.0)",
      "random_resized_crop.area' is 0.0; allowed: float from 0.0001 to 1",
    ),
  ],
)
def test_texts_that_cannot_be_used_are_named(text, message):
  with pytest.raises(CnnlabError, match=message):
    parse(text, TRANSFORMS, "k")


def test_an_order_that_is_not_the_order_of_application_is_refused():
  with pytest.raises(DataError, match="flip, color is not in the order"):
    preprocess(Flip(), Color())


def test_an_example_is_fitted_by_kind():
  raw = {
    "image": RNG.integers(0, 256, (20, 40, 3), np.uint8),
    "label": 2,
    "map": np.repeat(np.arange(4, dtype=np.uint8), 10)[None].repeat(20, 0),
    "boxes": np.array([[5, 15, 15, 25]]),
    "vector": [1, 2, 3],
  }
  found = fit_example(raw, FEATURES, (10, 10), 3)
  np.testing.assert_array_equal(found["image"], fit_array(raw["image"], (10, 10), 3))
  np.testing.assert_array_equal(found["map"][0], [1] * 5 + [2] * 5)
  np.testing.assert_allclose(found["boxes"][0], [2.5, 2.5, 7.5, 7.5])
  np.testing.assert_array_equal(found["boxes_valid"], [True, False])
  assert found["vector"].dtype == np.float32
  with pytest.raises(DataError, match="label 4 is outside the classes"):
    fit_example(raw | {"label": 4}, FEATURES, None, 3)
  with pytest.raises(DataError, match="3 boxes; the data set declares 2"):
    fit_example(raw | {"boxes": np.ones((3, 4))}, FEATURES, None, 3)


def test_the_view_leads_back_to_the_original_image():
  labels = np.zeros((40, 60), np.uint8)
  labels[10:30, 20:50] = 3
  p = Preprocess(
    np.zeros(1, np.float32), np.ones(1, np.float32), (20, 20), (16, 16), features=FEATURES
  )
  view = p.view(labels.shape)
  seen = fit_label_map(labels, (20, 20))[2:18, 2:18]
  back = view.restore(seen, fill=9)
  assert back.shape == (40, 60)
  inside = np.s_[4:36, 14:46]
  np.testing.assert_array_equal(back[inside], labels[inside])
  assert (back == 9).sum() == 40 * 60 - 32 * 32
  boxes = view.restore_boxes(np.array([[3.0, 3.0, 13.0, 16.0]], np.float32), (16, 16))
  np.testing.assert_allclose(boxes, [[10, 20, 30, 46]])
