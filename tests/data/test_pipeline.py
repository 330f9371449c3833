import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from cnnlab import data
from cnnlab.data import images
from cnnlab.errors import CnnlabError, DataError

from .conftest import CLASSES, write_image


def load(config, batch_size=4, eval_batch_size=4, **more):
  return data.load(config, seed=0, batch_size=batch_size, eval_batch_size=eval_batch_size, **more)


def test_digits_on_the_device(section):
  found = load(section(crop_padding=1), 100, 50)
  assert found.image_shape == (8, 8, 1)
  assert found.num_classes == 10
  assert found.placement == "device"
  assert found.train.num_examples + found.eval.num_examples == 1797
  assert found.train.steps_per_epoch == 14
  batch = next(found.train.train_batches(0))
  out = jax.jit(
    lambda constants, batch: found.preprocess.train(
      found.train.gather(constants, batch), jax.random.key(0)
    )
  )(found.train.constants, batch)
  assert out["image"].shape == (100, 8, 8, 1)
  np.testing.assert_array_equal(out["label"], found.train.constants["label"][batch["index"]])


def test_evaluation_gathers_each_example_once(section):
  found = load(section(), 10, 100)
  labels = []
  for batch in found.eval.eval_batches():
    full = found.eval.gather(found.eval.constants, batch)
    assert full["image"].shape == (100, 8, 8, 1)
    labels += np.asarray(full["label"])[np.asarray(full["mask"])].tolist()
  assert labels == found.eval.constants["label"].tolist()
  assert len(labels) == found.eval.num_examples


def test_statistics_come_from_the_training_split_alone(section):
  found = load(section(centering="image", scale="unit"))
  train = found.train.constants["image"]
  np.testing.assert_allclose(found.preprocess.mean, train.mean(0), rtol=1e-5)
  normal = found.preprocess.eval(train)
  np.testing.assert_allclose(normal.mean(0), 0, atol=1e-5)
  standard = load(section()).preprocess.eval(train)
  np.testing.assert_allclose([standard.mean(), standard.std()], [0, 1], atol=1e-4)
  assert float(load(section(centering="symmetric")).preprocess.eval(train).min()) == -1


def test_folder_resize_crop_and_channels(folder, section):
  found = load(section(name=f"folder:{folder}", resize=8, image_size=6, channels=1))
  assert found.image_shape == (6, 6, 1)
  assert found.train.constants["image"].shape == (21, 8, 8, 1)
  assert found.class_names == CLASSES
  own = load(section(name=f"folder:{folder}"))
  assert own.image_shape == (12, 10, 3)


def test_prediction_sees_what_evaluation_sees(folder, section):
  found = load(section(name=f"folder:{folder}", resize=8, image_size=6))
  loaded = found.preprocess.load_image(str(folder / "val" / "ant" / "0.png"))
  np.testing.assert_array_equal(loaded, found.eval.constants["image"][0])


def test_one_folder_of_classes_is_split_by_fraction(folder, section):
  found = load(section(name=f"folder:{folder}/train", eval_fraction=0.3))
  assert np.bincount(found.eval.constants["label"]).tolist() == [2, 2, 2]
  assert found.train.num_examples == 15


def test_changed_folder_is_decoded_again(folder, section):
  config = section(name=f"folder:{folder}")
  before = load(config).train.constants["image"][0].copy()
  again = load(config).train.constants["image"]
  np.testing.assert_array_equal(again[0], before)
  fresh = write_image(folder / "train" / "ant" / "0.png", np.random.default_rng(5), 12, 10)
  np.testing.assert_array_equal(load(config).train.constants["image"][0], fresh)


def damage(folder):
  path = folder / "train" / "bee" / "3.png"
  path.write_bytes(path.read_bytes()[:100])
  (folder / "train" / "cat" / "1.png").write_text("no image")


@pytest.mark.parametrize("again", [False, True])
def test_unreadable_images_are_named_counted_and_skipped_up_to_the_limit(folder, section, again):
  damage(folder)
  if again:  # from the cache
    load(section(name=f"folder:{folder}", max_bad_images=2))
  with pytest.raises(DataError, match=r"(?s)2 unreadable images.*\(1\).*bee/3\.png.*cat/1\.png"):
    load(section(name=f"folder:{folder}", max_bad_images=1))
  found = load(section(name=f"folder:{folder}", max_bad_images=2))
  assert found.train.num_examples == 19
  assert len(found.train.skipped) == 2
  assert "bee/3.png" in found.train.skipped[0]
  assert found.eval.skipped == []
  whole = images.load_image(folder / "train" / "cat" / "6.png")
  np.testing.assert_array_equal(found.train.constants["image"][-1], whole)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"name": "digit"}, r"unknown data set 'digit'; did you mean 'digits'"),
    ({"name": "tfds"}, r"unknown data set 'tfds'; did you mean 'tfds:<name>'"),
    ({"centering": "chanel"}, "did you mean 'channel'"),
    ({"placement": "divice"}, "did you mean 'device'"),
    ({"train_examples": 5000}, r"data\.train_examples is 5000; the split has 1438"),
    ({"train_examples": 3}, "batch of 4 is larger than the training split of 3"),
    ({"channels": 2}, r"data\.channels is 2; allowed: 1, 3"),
    ({"image_size": 9, "resize": 8}, "crop of 9x9 does not fit into images of 8x8"),
    ({"image_size": -1}, r"data\.image_size must not be negative"),
    ({"eval_fraction": 1.0}, r"data\.eval_fraction must lie between 0 and 1"),
  ],
)
def test_values_that_cannot_be_used(section, overrides, message):
  with pytest.raises(CnnlabError, match=message):
    load(section(**overrides))


def test_unknown_set_offers_what_lies_in_the_directory(tmp_path, section):
  place = tmp_path / "letters" / "1.0.0"
  place.mkdir(parents=True)
  (place / "dataset_info.json").write_text("{}")
  with pytest.raises(DataError, match="did you mean 'tfds:letters'"):
    load(section(name="letters", dir=str(tmp_path)))


def test_images_of_different_sizes_need_a_size(folder, section):
  write_image(folder / "train" / "cat" / "7.png", np.random.default_rng(1), 5, 5)
  with pytest.raises(DataError, match=r"differ in size: set data\.image_size"):
    load(section(name=f"folder:{folder}"))
  assert load(section(name=f"folder:{folder}", image_size=7)).image_shape == (7, 7, 3)


def test_keys_without_effect_are_named(folder, section):
  def unused(**overrides):
    return set(load(section(**overrides)).unused)

  assert unused() >= {"dir", "train_split", "eval_split", "pad_mode", "max_bad_images"}
  assert unused(centering="none") >= {"scale"}
  assert unused(placement="device") >= {"device_limit_mb", "workers"}
  found = unused(name=f"folder:{folder}", crop_padding=1)
  assert found == {"dir", "eval_fraction", "min_visibility", "train_examples_by"}
  assert "min_visibility" not in unused(name="scenes:train=4,eval=4,boxes=true")


def test_opening_a_set_starts_neither_jax_nor_tensorflow_datasets():
  code = (
    "import sys, cnnlab.data as d;"
    "d.load(d.DataSettings(), seed=0, batch_size=4, eval_batch_size=4);"
    "print([m for m in ('jax', 'tensorflow_datasets', 'grain') if m in sys.modules])"
  )
  out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert out.stdout.strip() == "[]"


def test_blood_cells(shared_data, section):
  root = Path(shared_data).parent / "imagefolder_bccd_cells"
  if not root.is_dir():
    pytest.skip(f"{root} is not there")
  found = load(section(name=f"folder:{root}", image_size=32), 16)
  assert found.class_names == ("Platelets", "RBC", "WBC")
  assert (found.train.num_examples, found.eval.num_examples) == (723, 180)
  assert np.bincount(found.train.constants["label"]).tolist() == [209, 300, 214]
  assert found.image_shape == (32, 32, 3)


def test_transforms_are_applied_in_the_order_of_the_list_after_crop_and_flip(section):
  names = ("color(brightness=0.1)", "scale", "erase")
  found = load(section(crop_padding=1, flip=True, transforms=names, mix=("cutmix",)))
  listed = [one.name for one in found.preprocess.transforms]
  assert listed == ["color", "crop", "flip", "scale", "erase"]
  assert [one.name for one in found.preprocess.mix] == ["cutmix"]
  with pytest.raises(DataError, match="flip, color is not in the order"):
    load(section(transforms=("flip", "color(brightness=0.1)")))


def test_a_validation_part_is_held_out_before_the_training_set_is_cut(section):
  whole = load(section())
  found = load(section(validation=0.1, train_examples=100))
  assert (found.train.num_examples, found.eval.num_examples) == (100, 145)
  assert load(section(validation=0.1, eval_examples=20)).eval.num_examples == 20

  def images(split):
    return {image.tobytes() for image in split.constants["image"]}

  assert not images(found.train) & images(found.eval)
  assert not images(whole.eval) & images(found.eval)
  with pytest.raises(DataError, match=r"validation=0\.1\) is 1438; the split has 1293"):
    load(section(validation=0.1, train_examples=1438))
