import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import folder as folders
from cnnlab.errors import DataError

from .conftest import CLASSES, write_image


def test_lists_images_by_class_and_name_and_leaves_other_files(folder):
  (folder / "train" / "ant" / "notes.txt").write_text("x")
  (folder / "train" / "ant" / ".hidden.png").write_text("x")
  (folder / "train" / ".git").mkdir()
  train, val = folders.open_folder(str(folder), "", "")
  assert train.class_names == val.class_names == CLASSES
  assert (len(train), len(val)) == (21, 9)
  assert train.labels().tolist() == [0] * 7 + [1] * 7 + [2] * 7
  assert train.size() == (12, 10)
  source = pickle.loads(pickle.dumps(train))
  (example,) = source.read([8], None, 3)
  np.testing.assert_array_equal(
    example["image"], np.asarray(Image.open(folder / "train" / "bee" / "1.png"))
  )
  assert example["label"] == 1


def test_sizes_that_differ_are_seen(folder):
  write_image(folder / "train" / "cat" / "7.png", np.random.default_rng(1), 5, 5)
  train, val = folders.open_folder(str(folder), "", "")
  assert train.size() is None
  assert val.size() == (12, 10)


def test_fingerprint_changes_with_the_files(folder):
  def fingerprint():
    return folders.open_folder(str(folder), "", "")[0].fingerprint()

  before = fingerprint()
  assert fingerprint() == before
  write_image(folder / "train" / "cat" / "0.png", np.random.default_rng(9), 12, 10)
  assert fingerprint() != before


def test_other_split_names_and_one_folder_of_classes(folder):
  shutil.copytree(folder / "val", folder / "held")
  train, held = folders.open_folder(str(folder), "train", "held")
  assert (len(train), len(held)) == (21, 9)
  assert len(folders.open_folder(str(folder / "train"), "", "")) == 21
  shutil.rmtree(folder / "val")
  assert len(folders.open_folder(str(folder), "", "")) == 21


@pytest.mark.parametrize("given", [("trian", ""), ("", "vla"), ("trian", "vla")])
def test_unknown_split_offers_the_nearest(folder, given):
  with pytest.raises(DataError, match=r"unknown split .* did you mean '(train|val)'"):
    folders.open_folder(str(folder), *given)


def test_missing_root_says_what_it_should_hold(tmp_path):
  with pytest.raises(DataError, match=r"nowhere' does not exist; .*train/<class>"):
    folders.open_folder(str(tmp_path / "nowhere"), "", "")


def test_class_folder_without_images_is_named(folder):
  (folder / "train" / "dog").mkdir()
  with pytest.raises(DataError, match=r"train/dog has no images"):
    folders.open_folder(str(folder), "", "")


def test_folder_without_classes_is_named(tmp_path):
  write_image(tmp_path / "0.png", np.random.default_rng(0), 4, 4)
  with pytest.raises(DataError, match="no class folders"):
    folders.open_folder(str(tmp_path), "", "")


def test_classes_of_the_two_splits_must_agree(folder):
  (folder / "val" / "cat").rename(folder / "val" / "dog")
  with pytest.raises(DataError, match=r"only in .*train: cat; only in .*val: dog"):
    folders.open_folder(str(folder), "", "")
