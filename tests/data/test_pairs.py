"""Folders of images and label maps, whole ones and broken ones."""

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
from cnnlab.data.features import fit_label_map
from cnnlab.data.images import load_image
from cnnlab.data.pairs import open_pairs
from cnnlab.errors import DataError

NAMES = "sky\nroad\ncar\n"


@pytest.fixture
def root(tmp_path):
  """images/ and labels/ with 5 pairs in train/ and 2 in val/, of 20x30 pixels, palette and gray."""
  rng = np.random.default_rng(0)
  for split, count in (("train", 5), ("val", 2)):
    for kind in ("images", "labels"):
      (tmp_path / kind / split).mkdir(parents=True)
    for i in range(count):
      labels = rng.integers(0, 3, (20, 30)).astype(np.uint8)
      labels[0] = 255
      image = Image.fromarray(np.stack([labels * 60] * 3, -1))
      image.save(tmp_path / f"images/{split}/{i}.{'jpg' if i == 1 else 'png'}")
      form = Image.fromarray(labels)
      if i % 2:
        form.putpalette(list(range(255, -1, -1)) * 3)
      form.save(tmp_path / f"labels/{split}/{i}.png")
  (tmp_path / "classes.txt").write_text(NAMES)
  return tmp_path


def load(root, section, **overrides):
  return data.load(
    section(name=f"pairs:{root}", **overrides), seed=0, batch_size=2, eval_batch_size=2
  )


def test_pairs_are_read_and_stay_pairs(root, section):
  found = load(root, section)
  assert found.class_names == ("sky", "road", "car")
  assert (found.train.num_examples, found.eval.num_examples) == (5, 2)
  images, labels = found.train.constants["image"], found.train.constants["labels"]
  assert (labels[:, 0] == 255).all()
  for i in (0, 2, 3, 4):  # 1 is a JPEG
    np.testing.assert_array_equal(images[i, 1:, :, 0], labels[i, 1:] * 60)


def test_both_are_fitted_alike(root, section):
  found = load(root, section, image_size=(10, 10))
  path = root / "labels/train/3.png"
  whole = np.asarray(Image.open(path))
  np.testing.assert_array_equal(found.train.constants["labels"][3], fit_label_map(whole, (10, 10)))
  image = load_image(root / "images/train/3.png", (10, 10))
  np.testing.assert_array_equal(found.train.constants["image"][3], image)


def test_without_splits_some_are_held_out(root, section):
  for kind in ("images", "labels"):
    for file in (root / kind / "train").iterdir():
      file.rename(root / kind / file.name)
    for split in ("train", "val"):
      for rest in (root / kind / split).iterdir():
        rest.unlink()
      (root / kind / split).rmdir()
  found = load(root, section, eval_fraction=0.4)
  assert (found.train.num_examples, found.eval.num_examples) == (3, 2)


def edit(path, change):
  labels = np.asarray(Image.open(path)).copy()
  Image.fromarray(change(labels)).save(path)


def put(labels, value):
  labels[3, 4:6] = value
  return labels


@pytest.mark.parametrize(
  ("harm", "message"),
  [
    (
      lambda r: edit(r / "labels/train/2.png", lambda a: put(a, 7)),
      r"labels/train/2\.png: 2 pixels have the label 7; allowed: 0 to 2.* and 255",
    ),
    (
      lambda r: edit(r / "labels/val/0.png", lambda a: a[:, :29]),
      r"labels/val/0\.png has 20x29 pixels and its image .*images/val/0\.png 20x30",
    ),
    (
      lambda r: (r / "labels/train/1.png").unlink(),
      r"labels/train has no label map for 1\.jpg",
    ),
    (lambda r: (r / "images/val/1.jpg").unlink(), r"images/val has no image for 1\.png"),
    (
      lambda r: edit(r / "labels/train/4.png", lambda a: np.stack([a] * 3, -1)),
      r"labels/train/4\.png: a label map of mode RGB; allowed: a PNG file, palette or gray",
    ),
    (
      lambda r: (r / "labels/train/4.png").write_bytes(b"no picture"),
      r"1 unreadable image.*\n.*labels/train/4\.png: its content",
    ),
    (lambda r: (r / "classes.txt").unlink(), r"cannot read .*classes\.txt: No such file"),
    (lambda r: (r / "classes.txt").write_text("sky\n\ncar"), "line 2 is empty"),
    (lambda r: (r / "classes.txt").write_text("sky\ncar\nsky"), "line 3 names 'sky' again"),
    (lambda r: (r / "classes.txt").write_text("sky"), "names 1 classes; allowed: 2 to 255"),
    (lambda r: (r / "labels").rename(r / "label"), "has no folder 'labels'"),
    (
      lambda r: Image.new("RGB", (30, 20)).save(r / "images/train/3.bmp"),
      r"has both 3\.bmp and 3\.png",
    ),
  ],
)
def test_what_is_wrong_is_named(root, section, harm, message):
  harm(root)
  with pytest.raises(DataError, match=message):
    load(root, section)


def test_a_split_that_is_not_there_is_named(root):
  with pytest.raises(DataError, match=r"data\.train_split: unknown split 'trian'; did you mean"):
    open_pairs(str(root), "trian", "")


def test_an_unreadable_pair_may_be_skipped(root, section):
  (root / "labels/train/4.png").write_bytes(b"no picture")
  assert load(root, section, max_bad_images=1).train.num_examples == 4
