import shutil

import numpy as np
import pytest

from cnnlab.data import cache


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
  monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path))
  return tmp_path / "decoded"


class Maker:
  def __init__(self):
    self.calls = 0

  def __call__(self):
    self.calls += 1
    return {"x": np.arange(1000, dtype=np.int32), "none": np.zeros((0, 3), np.uint8)}, ["a note"]


def check(entry):
  arrays, notes = entry
  np.testing.assert_array_equal(arrays["x"], np.arange(1000))
  assert arrays["none"].shape == (0, 3)
  assert notes == ["a note"]


def test_made_once_for_each_key():
  make = Maker()
  for _ in range(3):
    check(cache.cached(["k", 1], make))
  assert make.calls == 1
  check(cache.cached(["k", 2], make))
  assert make.calls == 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "index", "remove"])
def test_damaged_entries_are_made_again(place, damage):
  make = Maker()
  check(cache.cached("k", make))
  (entry,) = place.iterdir()
  file = entry / "x.npy"
  if damage == "truncate":
    file.write_bytes(file.read_bytes()[:-50])
  elif damage == "flip":
    data = bytearray(file.read_bytes())
    data[-7] ^= 4
    file.write_bytes(data)
  elif damage == "index":
    (entry / "index.json").write_text("{")
  else:
    file.unlink()
  check(cache.cached("k", make))
  assert make.calls == 2
  check(cache.cached("k", make))
  assert make.calls == 2


def test_nothing_is_stored_when_making_fails(place):
  def fail():
    raise RuntimeError("no data")

  with pytest.raises(RuntimeError):
    cache.cached("k", fail)
  assert not place.exists() or not list(place.iterdir())


def test_off_and_unwritable_places_still_give_the_data(tmp_path, monkeypatch):
  make = Maker()
  monkeypatch.setenv("CNNLAB_CACHE", "off")
  check(cache.cached("k", make))
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "file"))
  check(cache.cached("k", make))
  assert make.calls == 2


def test_an_entry_in_the_place_of_another_is_not_believed(place):
  make = Maker()
  cache.cached("a", make)
  (first,) = place.iterdir()
  cache.cached("b", lambda: ({"x": np.zeros(3)}, None))
  (second,) = set(place.iterdir()) - {first}
  shutil.rmtree(first)
  second.rename(first)
  check(cache.cached("a", make))
  assert make.calls == 2
