import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab.data.augment import Preprocess, crop_and_flip
from cnnlab.data.features import IGNORED_LABEL, Feature
from cnnlab.data.transforms import Crop, Flip
from cnnlab.errors import CnnlabError

KEY = jax.random.key(7)


def preprocess(crop_padding=0, pad_mode="constant", flip=False, **fields):
  fields["transforms"] = crop_and_flip(crop_padding, pad_mode, flip)
  base = Preprocess(
    mean=np.array([100, 120, 140], np.float32),
    scale=np.array([50, 60, 70], np.float32),
    stored_size=(9, 8),
    image_size=(9, 8),
  )
  return dataclasses.replace(base, **fields)


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).integers(0, 256, (12, 9, 8, 3), dtype=np.uint8)


def naive(p, images, key, fill=0.0):
  """Pads, crops and flips one image after another, with the same draws."""
  out = []
  spec = next((t for t in p.transforms if isinstance(t, Crop)), Crop())
  flips = any(isinstance(t, Flip) for t in p.transforms)
  for i, image in enumerate(images):
    pad = [(spec.padding, spec.padding)] * 2 + [(0, 0)] * (image.ndim - 2)
    mode = {"mode": "reflect"} if spec.pad_mode == "reflect" else {"constant_values": fill}
    padded = np.pad(image, pad, **mode)
    (h, w) = p.image_size
    room = (padded.shape[0] - h + 1, padded.shape[1] - w + 1, 2 if flips else 1)
    top, left, flip = jax.random.randint(jax.random.fold_in(key, i), (3,), 0, np.array(room))
    crop = padded[top : top + h, left : left + w]
    out.append(crop[:, ::-1] if flip else crop)
  return np.stack(out)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("padding", "size"), [(2, (9, 8)), (0, (6, 5)), (3, (7, 8)), (0, (9, 8))])
def test_train_agrees_with_a_loop_over_images(images, pad_mode, flip, padding, size):
  p = preprocess(image_size=size, crop_padding=padding, pad_mode=pad_mode, flip=flip)
  expected = naive(p, (images.astype(np.float32) - p.mean) / p.scale, KEY)
  found = jax.jit(p.train)(images, KEY)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_mean_image_moves_with_the_crop(images):
  mean = images.mean(0).astype(np.float32)
  p = preprocess(mean=mean, crop_padding=2, flip=True)
  expected = naive(p, (images.astype(np.float32) - mean) / p.scale, KEY)
  np.testing.assert_allclose(jax.jit(p.train)(images, KEY), expected, rtol=1e-5, atol=1e-6)


def test_a_label_map_gets_the_geometry_of_its_image(images):
  features = {
    "image": Feature("image", (9, 8, 3), "uint8"),
    "label_map": Feature("label_map", (9, 8), "uint8"),
    "label": Feature("label", (), "int32"),
  }
  p = preprocess(image_size=(8, 6), crop_padding=2, flip=True, features=features)
  labels = images[..., 0] % 5
  batch = {"image": images, "label_map": labels, "label": np.arange(12)}
  out = jax.jit(p.train)(batch, KEY)
  np.testing.assert_array_equal(out["label_map"], naive(p, labels, KEY, IGNORED_LABEL))
  assert out["label_map"].dtype == np.uint8
  np.testing.assert_array_equal(out["label"], np.arange(12))
  np.testing.assert_array_equal(p.eval(batch)["label_map"], labels[:, 0:8, 1:7])


def test_eval_crops_the_centre_and_normalises(images):
  p = preprocess(image_size=(5, 4), crop_padding=2, flip=True)
  expected = (images[:, 2:7, 2:6].astype(np.float32) - p.mean) / p.scale
  np.testing.assert_allclose(p.eval(images), expected, rtol=1e-6)
  out = p.eval({"image": images, "mask": np.ones(12, bool)})
  assert set(out) == {"image", "mask"}


def test_draws_belong_to_the_example_and_not_to_the_device(images):
  p = preprocess(crop_padding=2, flip=True)
  train = jax.jit(p.train)
  whole = train(images, KEY)
  parts = [train(images[:6], KEY), train(images[6:], KEY, offset=6)]
  np.testing.assert_array_equal(whole, np.concatenate(parts))
  assert not np.array_equal(whole, train(images, jax.random.key(8)))


def test_all_positions_and_both_flips_are_equally_likely():
  # Every pixel of the image tells its own row, column, so a crop tells where it lay.
  image = (np.arange(6)[:, None] * 10 + np.arange(6) + 1).astype(np.uint8)[None, :, :, None]
  p = Preprocess(np.zeros(1, np.float32), np.ones(1, np.float32), (6, 6), (4, 4), (Flip(),))
  out = np.asarray(jax.jit(p.train)(np.repeat(image, 6000, axis=0), KEY))
  corner, count = np.unique(out[:, 0, 0, 0], return_counts=True)
  assert len(corner) == 3 * 6  # three rows, and three columns for each of the two directions
  np.testing.assert_allclose(count / 6000, 1 / 18, atol=0.015)


def test_without_room_training_is_evaluation(images):
  p = preprocess()
  np.testing.assert_array_equal(p.train(images, KEY), p.eval(images))


def test_parts_rebuild_it(images):
  p = preprocess(mean=images.mean(0).astype(np.float32), crop_padding=1, flip=True)
  settings = json.loads(json.dumps(p.settings()))
  again = Preprocess.from_parts(settings, p.arrays())
  np.testing.assert_array_equal(p.train(images, KEY), again.train(images, KEY))
  np.testing.assert_array_equal(p.eval(images), again.eval(images))


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"image_size": (10, 8)}, "crop of 10x8 does not fit into images of 9x8"),
    ({"crop_padding": -1}, "crop.padding' is -1; allowed: int of 0 and more"),
    ({"pad_mode": "edge", "crop_padding": 1}, "'edge'.* Allowed: constant, reflect"),
    ({"pad_mode": "reflect", "crop_padding": 8}, "at most 7"),
  ],
)
def test_impossible_settings_are_refused(fields, message):
  with pytest.raises(CnnlabError, match=message):
    preprocess(**fields)


def test_settings_written_before_transforms_were_values_are_read(images):
  p = preprocess(crop_padding=2, pad_mode="reflect", flip=True)
  old = {
    "stored_size": [9, 8], "image_size": [9, 8], "crop_padding": 2, "pad_mode": "reflect",
    "flip": True, "eval_crops": "center",
  }  # fmt: skip
  again = Preprocess.from_parts(old, p.arrays())
  np.testing.assert_array_equal(p.train(images, KEY), again.train(images, KEY))
