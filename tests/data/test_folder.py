import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
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


def load(folder, section, **overrides):
  return data.load(section(name=f"folder:{folder}", **overrides), seed=0, batch_size=2,
                   eval_batch_size=2)  # fmt: skip


def test_links_pipes_and_sockets_count_as_unreadable_images(folder, section):
  (folder / "train" / "ant" / "link.png").symlink_to("nowhere")
  (folder / "train" / "bee" / "circle.png").symlink_to("circle.png")
  os.mkfifo(folder / "train" / "cat" / "pipe.png")
  with pytest.raises(DataError, match="3 unreadable images") as raised:
    load(folder, section, image_size=8)
  for reason in (
    "ant/link.png: No such file or directory",
    "bee/circle.png: Too many levels of symbolic links",
    "cat/pipe.png: not a plain file but a pipe",
  ):
    assert reason in str(raised.value)
  assert load(folder, section, image_size=8, max_bad_images=3).train.num_examples == 21


def test_a_class_behind_a_link_that_leads_nowhere_is_not_lost(folder):
  (folder / "train" / "dog").symlink_to("dog")
  with pytest.raises(DataError, match=r"train/dog is a link that leads nowhere \(Too many"):
    folders.open_folder(str(folder), "", "")


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
  def refuse(place):
    raise PermissionError(13, "Permission denied", place)

  monkeypatch.setattr(os, "scandir", refuse)
  with pytest.raises(DataError, match="cannot read the folder .*set: Permission denied"):
    folders.open_folder(str(folder), "", "")


def test_names_that_no_encoding_has_are_shown_as_escapes(folder, section):
  for split in ("train", "val"):
    place = os.fsencode(folder / split)
    os.rename(place + b"/cat", place + b"/caf\xe9\x1b[31m")
  found = load(folder, section)
  assert found.class_names == ("ant", "bee", r"caf\xe9\x1b[31m")
  assert np.bincount(found.train.constants["label"]).tolist() == [7, 7, 7]


def test_a_class_of_which_nothing_can_be_read_is_named(folder, section):
  for file in (folder / "train" / "bee").iterdir():
    file.write_text("no image")
  with pytest.raises(DataError, match="no image of the class bee can be read"):
    load(folder, section, max_bad_images=100)


def test_folders_within_class_folders_are_told_of(folder, caplog):
  (folder / "train" / "ant" / "more").mkdir()
  folders.open_folder(str(folder), "", "")
  assert r"train/ant: the folders in it (more) are not read" in caplog.text


@pytest.mark.parametrize(
  ("name", "why"),
  [("~nobody-of-this-name", "home directory"), ("a\0b", "null byte"), ("x" * 5000, "too long"),
   ("/dev/null", "is a file, not a folder")],
)  # fmt: skip
def test_names_that_are_no_folder(name, why):
  with pytest.raises(DataError, match=rf"data\.name: .*{why}"):
    folders.open_folder(name, "", "")
