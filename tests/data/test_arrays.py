import numpy as np
import pytest

from cnnlab import data
from cnnlab.data import opening
from cnnlab.data.arrays import from_arrays, open_npz
from cnnlab.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def test_images_and_labels_are_a_source():
  source = from_arrays(IMAGES, LABELS, class_names=("ant", "bee", "cat"))
  assert (len(source), source.size()) == (12, (5, 4))
  assert source.features["label"].names == ("ant", "bee", "cat")
  (example,) = source.read([7], None, 3)
  np.testing.assert_array_equal(example["image"], IMAGES[7])
  assert example["label"] == 1


def test_gray_images_lists_and_columns_of_labels_are_taken_as_they_are():
  source = from_arrays(IMAGES[..., 0].astype(np.int64).tolist(), LABELS[:, None].astype(np.uint8))
  np.testing.assert_array_equal(source.arrays["image"], IMAGES[..., :1])
  np.testing.assert_array_equal(source.labels(), LABELS)
  assert source.features["label"].names == ("0", "1", "2")


def test_names_of_classes_may_be_the_labels():
  names = np.array(["cat", "ant", "bee"])[LABELS]
  source = from_arrays(IMAGES, names)
  assert source.features["label"].names == ("ant", "bee", "cat")
  assert source.labels().tolist() == [2, 0, 1] * 4
  ordered = from_arrays(IMAGES, names.astype(object), class_names=("cat", "bee", "ant"))
  assert ordered.labels().tolist() == [0, 2, 1] * 4


def test_both_splits_have_the_same_classes():
  train, held = from_arrays(IMAGES[:8], LABELS[:8], IMAGES[8:], np.array([0, 1, 1, 4]))
  assert train.features["label"].names == held.features["label"].names == tuple("01234")
  assert (len(train), len(held)) == (8, 4)


@pytest.mark.parametrize(
  ("images", "labels", "options", "message"),
  [
    (IMAGES / 255, LABELS, {}, r"float64 from .* to 1; allowed: whole numbers.*\(255 \* images\)"),
    (IMAGES.astype(int) + 300, LABELS, {}, "allowed: whole numbers from 0 to 255"),
    (IMAGES.transpose(0, 3, 1, 2), LABELS, {}, r"\(12, 3, 5, 4\).*transpose\(0, 2, 3, 1\)"),
    (IMAGES[:0], LABELS[:0], {}, r"shape \(0, 5, 4, 3\)"),
    ([IMAGES[0], IMAGES[1, :3]], LABELS[:2], {}, "images of different sizes"),
    (IMAGES, LABELS[:9], {}, r"labels have the shape \(9,\); allowed: \(12,\)"),
    (IMAGES, np.eye(12), {}, r"labels\.argmax\(1\)"),
    (IMAGES, LABELS / 2, {}, "labels are float64; allowed: whole numbers"),
    (IMAGES, LABELS - 1, {}, "a label is -1; allowed: 0 to 1"),
    (IMAGES, LABELS, {"class_names": ("a", "b")}, "a label is 2; allowed: 0 to 1"),
    (IMAGES, LABELS, {"class_names": ("a", "b", "a")}, "holds a name twice"),
    (IMAGES, ["a", "b", "c"] * 4, {"class_names": ("a", "b", "cc")}, "unknown class 'c'; did.*'cc'"),
    (IMAGES, [None, "b", "c"] * 4, {}, "something else than names"),
    (IMAGES, LABELS, {"eval_images": IMAGES}, "eval_labels belong together"),
    (IMAGES, LABELS, {"eval_images": IMAGES, "eval_labels": ["a"] * 12}, "one or the other"),
  ],
)  # fmt: skip
def test_what_cannot_be_used_is_described(images, labels, options, message):
  with pytest.raises(DataError, match=rf"^mine: .*{message}"):
    from_arrays(images, labels, name="mine", **options)


@pytest.fixture
def register(monkeypatch):
  """Returns `register_source`; what it adds is taken away after the test."""
  monkeypatch.setattr(opening, "_registered", {})
  return data.register_source


def load(section, **settings):
  return data.load(section(**settings), seed=0, batch_size=2, eval_batch_size=2)


def test_a_registered_source_is_named_by_the_config(register, section):
  register("mine", from_arrays(IMAGES, LABELS))
  found = load(section, name="mine", eval_fraction=0.25)
  assert (found.train.num_examples, found.eval.num_examples) == (9, 3)
  assert set(found.unused) >= {"dir", "train_split", "eval_split", "max_bad_images"}
  register("pair", from_arrays(IMAGES, LABELS, IMAGES[:2], LABELS[:2]))
  found = load(section, name="pair")
  assert (found.train.num_examples, found.eval.num_examples) == (12, 2)
  assert "eval_fraction" in found.unused
  register("made", lambda rest, settings: from_arrays(IMAGES[: int(rest)], LABELS[: int(rest)]))
  assert load(section, name="made:6", eval_fraction=0.5).eval.num_examples == 3


def test_names_of_sources_that_are_taken_or_wrong(register, section):
  register("mine", from_arrays(IMAGES, LABELS))
  with pytest.raises(ConfigError, match="data set 'mine' is registered already"):
    register("mine", from_arrays(IMAGES, LABELS))
  with pytest.raises(ConfigError, match="data set 'csv' is cnnlab's own"):
    register("csv", from_arrays(IMAGES, LABELS))
  for name in ("mien", "mine:3", "mine:"):
    with pytest.raises(DataError, match=f"unknown data set '{name}'; did you mean 'mine'"):
      load(section, name=name)


@pytest.mark.parametrize(
  ("names", "sizes"),
  [
    (("images", "labels"), (9, 3)),
    (("train_images", "train_labels", "val_images", "val_labels"), (12, 12)),
    (("x_train", "y_train", "x_test", "y_test"), (12, 12)),
    (("x", "y", "class_names"), (9, 3)),
  ],
)
def test_npz_files_in_the_usual_layouts(tmp_path, section, names, sizes):
  arrays = {name: LABELS if "labels" in name or name[0] == "y" else IMAGES for name in names}
  if "class_names" in names:
    arrays["class_names"] = np.array(["ant", "bee", "cat"])
  np.savez_compressed(tmp_path / "set.npz", **arrays)
  found = load(section, name=f"npz:{tmp_path}/set.npz", eval_fraction=0.2)
  assert (found.train.num_examples, found.eval.num_examples) == sizes
  assert found.class_names == (("ant", "bee", "cat") if "class_names" in names else tuple("012"))
  assert found.image_shape == (5, 4, 3)


def test_the_splits_of_an_npz_file_are_chosen_by_name(tmp_path):
  file = str(tmp_path / "set.npz")
  splits = {"train": 6, "val": 3, "test": 4}
  np.savez(
    file,
    **{f"{split}_images": IMAGES[:n] for split, n in splits.items()},
    **{f"{split}_labels": LABELS[:n, None] for split, n in splits.items()},
  )  # as MedMNIST
  assert [len(source) for source in open_npz(file, "", "")] == [6, 3]
  assert [len(source) for source in open_npz(file, "val", "test")] == [3, 4]
  with pytest.raises(
    DataError, match=r"data\.eval_split: unknown split 'tset'; did you mean 'test'"
  ):
    open_npz(file, "", "tset")


def test_npz_files_that_cannot_be_used(tmp_path):
  file = tmp_path / "set.npz"
  with pytest.raises(
    DataError, match=r"data\.name: the file '.*set\.npz' does not exist; an \.npz"
  ):
    open_npz(str(file), "", "")
  file.write_text("no zip")
  with pytest.raises(DataError, match=r"set\.npz is not an \.npz file"):
    open_npz(str(file), "", "")
  np.savez(file, train_images=IMAGES, train_label=LABELS)
  with pytest.raises(DataError, match="unknown array 'train_labels'; did you mean 'train_label'"):
    open_npz(str(file), "", "")
  np.savez(file, pictures=IMAGES)
  with pytest.raises(DataError, match="its arrays are pictures; an .npz file holds"):
    open_npz(str(file), "", "")
  np.savez(file, images=IMAGES, labels=np.array([{}] * 12))  # a pickle, which could run code
  with pytest.raises(DataError, match="the array 'labels' cannot be read"):
    open_npz(str(file), "", "")
  np.savez(file, images=IMAGES, labels=LABELS)
  content = bytearray(file.read_bytes())
  content[300] ^= 255
  file.write_bytes(content)
  with pytest.raises(DataError, match=r"set\.npz: the array 'images' cannot be read"):
    open_npz(str(file), "", "")
