import csv
import os

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
from cnnlab.data.table import open_csv
from cnnlab.errors import DataError

from .conftest import write_image


@pytest.fixture
def images(tmp_path):
  """`photos/0.png` to `5.png`; returns the folder and the pixels."""
  rng = np.random.default_rng(0)
  return tmp_path, [write_image(tmp_path / "photos" / f"{i}.png", rng, 6, 5) for i in range(6)]


def write(folder, rows, name="set.csv"):
  with (folder / name).open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows(rows)
  return str(folder / name)


def test_paths_are_relative_to_the_table_and_labels_sorted_naturally(images, monkeypatch):
  folder, pixels = images
  rows = [(f"photos/{i}.png", label) for i, label in enumerate(("10", "9", "10", "9", "2", "2"))]
  rows[1] = (str(folder / "photos" / "1.png"), "9")
  file = write(folder, [("path", "label"), *rows])
  monkeypatch.chdir("/")
  source = open_csv(file, "", "")
  assert source.class_names == ("2", "9", "10")
  assert source.labels().tolist() == [2, 1, 2, 1, 0, 0]
  assert source.name == f"csv:{file}"
  for index in (1, 5):
    (example,) = source.read([index], None, 3)
    np.testing.assert_array_equal(example["image"], pixels[index])


def test_a_column_divides_the_rows_and_others_are_ignored(images, section):
  folder, _ = images
  splits = ("train", "val", "train", "train", "test", "train")
  rows = [(f"photos/{i}.png", "ab"[i % 2], s, i) for i, s in enumerate(splits)]
  file = write(folder, [("path", " label", "split", "id"), *rows])
  found = data.load(section(name=f"csv:{file}"), seed=0, batch_size=2, eval_batch_size=2)
  assert (found.train.num_examples, found.eval.num_examples) == (4, 1)
  assert found.class_names == ("a", "b")
  assert set(found.unused) >= {"dir", "eval_fraction"}
  _, held = open_csv(file, "train", "test")
  assert held.files == ("photos/4.png",)
  with pytest.raises(DataError, match="data.eval_split: unknown split 'tset'; did you mean 'test'"):
    open_csv(file, "", "tset")


def test_changed_labels_are_not_read_from_the_cache(images, section):
  folder, _ = images

  def labels(text):
    rows = [(f"photos/{i}.png", each) for i, each in enumerate(text)]
    name = f"csv:{write(folder, [('path', 'label'), *rows])}"
    settings = section(name=name, eval_fraction=0.34)
    return data.load(settings, seed=0, batch_size=2, eval_batch_size=2).train.constants["label"]

  assert labels("aaabbb").tolist() == [0, 0, 1, 1]
  assert labels("bbbaaa").tolist() == [1, 1, 0, 0]


def test_what_spreadsheets_add_is_no_error(images):
  folder, _ = images
  text = '\ufeffpath,label\r\n"photos/0.png","a, b"\r\n,\r\n\r\nphotos/1.png,c\r\n'
  (folder / "set.csv").write_text(text, encoding="utf-8", newline="")
  assert open_csv(str(folder / "set.csv"), "", "").class_names == ("a, b", "c")


ROW = ("photos/0.png", "a")


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    ([("file", "label"), ROW], r"header \(row 1\) is 'file,label' and has no column 'path'"),
    ([("path", "labels"), ROW], "has no column 'label'; is it 'labels'"),
    ([("path;label",), ("photos/0.png;a",)], "is 'path;label' and has no column 'path'"),
    ([("path", "label", "path"), ROW], "two columns of its header are named 'path'"),
    ([], "has no column 'path'"),
    ([("path", "label")], "has no rows below its header"),
    ([("path", "label"), ROW, ("photos/1.png",)], "row 3: it has 1 fields, and the header has 2"),
    ([("path", "label"), ROW, ("photos/1.png", " ")], "row 3: column 'label' is empty"),
    ([("path", "label"), ROW, ("photos/9.png", "b")], r"row 3: 'photos/9\.png' does not exist"),
    ([("path", "label"), ROW, ("./photos/0.png", "b")], r"row 3: '\./photos/0\.png' is in row 2"),
    ([("path", "label", "split"), (*ROW, "training")], "unknown split 'train'; did.*'training'"),
    (
      [("path", "label", "split"), (*ROW, "train"), ("photos/1.png", "b", "val")],
      "no training image of the class b",
    ),
  ],
)  # fmt: skip
def test_errors_name_the_file_and_the_row(images, rows, message):
  folder, _ = images
  with pytest.raises(DataError, match=rf"set\.csv.*{message}|{message}.*set\.csv") as raised:
    open_csv(write(folder, rows), "", "")
  assert len(str(raised.value).splitlines()) == 1


def test_files_that_are_no_table(images):
  folder, _ = images
  with pytest.raises(
    DataError, match=r"the file '.*none\.csv' does not exist; a CSV file of images"
  ):
    open_csv(str(folder / "none.csv"), "", "")
  with pytest.raises(DataError, match="is not a plain file"):
    open_csv(str(folder), "", "")
  (folder / "set.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
  with pytest.raises(DataError, match=r"set\.csv cannot be read as CSV in UTF-8"):
    open_csv(str(folder / "set.csv"), "", "")


def test_what_is_no_image_is_counted_as_in_folders(images, section):
  folder, _ = images
  (folder / "photos" / "3.png").write_text("no image")
  os.symlink("nowhere.png", folder / "photos" / "6.png")
  rows = [(f"photos/{i}.png", "ab"[i % 2]) for i in range(7)]
  name = f"csv:{write(folder, [('path', 'label'), *rows])}"

  def load(limit):
    settings = section(name=name, image_size=5, max_bad_images=limit, eval_fraction=0.3)
    return data.load(settings, seed=0, batch_size=1, eval_batch_size=1)

  with pytest.raises(DataError, match=r"unreadable image"):
    load(0)
  found = load(2)
  assert found.train.num_examples + found.eval.num_examples == 5


def test_a_table_equals_the_folders_that_it_lists(folder, tmp_path):
  """The same images and labels as `folder:`, which is tested on its own."""
  by_folder = data.load(
    data.DataSettings(name=f"folder:{folder}"), seed=0, batch_size=2, eval_batch_size=2
  )
  files = sorted(folder.glob("*/*/*.png"))
  rows = [(file.relative_to(folder), file.parent.name, file.parents[1].name) for file in files]
  name = f"csv:{write(folder, [('path', 'label', 'split'), *rows])}"
  by_table = data.load(data.DataSettings(name=name), seed=0, batch_size=2, eval_batch_size=2)
  for one, other in ((by_folder.train, by_table.train), (by_folder.eval, by_table.eval)):
    for key in ("image", "label"):
      np.testing.assert_array_equal(one.constants[key], other.constants[key])
  with Image.open(files[0]) as first:
    assert first.size == (10, 12)
