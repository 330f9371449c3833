import gzip
import struct

import numpy as np
import pytest

from cnnlab import data
from cnnlab.data.idx import open_idx, read_idx
from cnnlab.errors import DataError

RNG = np.random.default_rng(0)


def write(path, array):
  """Writes an array as http://yann.lecun.com/exdb/mnist describes the format."""
  content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
  path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path):
  """A folder like MNIST's, with the test split gzipped; returns (folder, arrays)."""
  arrays = {}
  for split, count, suffix in (("train", 20, ""), ("t10k", 10, ".gz")):
    arrays[split] = RNG.integers(0, 256, (count, 6, 5), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    write(tmp_path / f"{split}-images-idx3-ubyte{suffix}", arrays[split])
    write(tmp_path / f"{split}-labels-idx1-ubyte{suffix}", labels)
  return tmp_path, arrays


def test_a_folder_like_mnists(mnist):
  folder, arrays = mnist
  settings = data.DataSettings(name=f"idx:{folder}")
  found = data.load(settings, seed=0, batch_size=4, eval_batch_size=4)
  assert (found.image_shape, found.class_names) == ((6, 5, 1), tuple("0123456789"))
  np.testing.assert_array_equal(found.train.constants["image"][..., 0], arrays["train"])
  np.testing.assert_array_equal(found.eval.constants["image"][..., 0], arrays["t10k"])
  assert found.eval.constants["label"].tolist() == list(range(10))
  assert {"dir", "train_split", "eval_fraction", "max_bad_images"} <= set(found.unused)


def test_one_split_and_other_spellings(mnist):
  folder, _ = mnist
  for name in ("images", "labels"):
    axes = {"images": 3, "labels": 1}[name]
    (folder / f"t10k-{name}-idx{axes}-ubyte.gz").unlink()
    (folder / f"train-{name}-idx{axes}-ubyte").rename(folder / f"train-{name}.idx{axes}-ubyte")
  assert len(open_idx(str(folder))) == 20


def test_what_is_missing_is_named(mnist):
  folder, _ = mnist
  (folder / "t10k-labels-idx1-ubyte.gz").unlink()
  with pytest.raises(
    DataError, match="has no labels of the test split; such a folder holds train-"
  ):
    open_idx(str(folder))
  for file in folder.iterdir():
    file.unlink()
  with pytest.raises(DataError, match="has no images of the train split"):
    open_idx(str(folder))
  for name in ("emnist-letters", "emnist-digits"):
    write(folder / f"{name}-train-labels-idx1-ubyte", np.zeros(3, np.uint8))
  with pytest.raises(DataError, match="several data sets: emnist-digits-, emnist-letters-"):
    open_idx(str(folder))


def test_labels_and_images_of_different_number(mnist):
  folder, _ = mnist
  write(folder / "train-labels-idx1-ubyte", np.zeros(19, np.uint8))
  with pytest.raises(DataError, match=r"idx:.*labels have the shape \(19,\); allowed: \(20,\)"):
    open_idx(str(folder))


GOOD = struct.pack(">HBBI", 0, 8, 1, 3) + b"abc"


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "its header is empty"),
    (b"\x1f\x8b\x08\x00rest", "its header is 1f 8b 08 00; an IDX file begins with 00 00"),
    (b"\0\0\x08\x09", "number of axes, 1 to 4"),
    (struct.pack(">HBBI", 0, 0x0D, 1, 3), "its type is 0d; allowed: 08, unsigned bytes"),
    (GOOD[:6], "it ends within its header"),
    (GOOD[:-1], "its header says 3 = 3 bytes; it holds 2"),
    (GOOD + b"d", "its header says 3 = 3 bytes; it holds 4"),
    (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "it holds 0"),
  ],
)
def test_damaged_headers_are_described(tmp_path, content, message):
  file = tmp_path / "labels-idx1-ubyte"
  file.write_bytes(content)
  with pytest.raises(DataError, match=f"labels-idx1-ubyte: .*{message}"):
    read_idx(file)


@pytest.mark.parametrize(
  "damage", [lambda c: c[:-9], lambda c: b"no gzip", lambda c: c[:12] + b"x" + c[13:]]
)
def test_damaged_compression_is_named(tmp_path, damage):
  file = tmp_path / "x.gz"
  file.write_bytes(damage(gzip.compress(GOOD * 50)))
  with pytest.raises(DataError, match=r"x\.gz"):
    read_idx(file)
