"""Pictures beside each other: each is found again where its title stands."""

import numpy as np
import pytest

from cnnlab import panels


def picture(value, height=30, width=40):
  return np.full((height, width, 3), value, np.uint8)


def network(value, image=1):
  return {"image": picture(image), panels.PREDICTED: picture(value), "classes": picture(4)}


def test_a_grid_holds_every_picture_unchanged():
  rows = [{"a": picture(10), "b": picture(20, 50, 20)}, {"a title wider than it": picture(30)}]
  found = panels.grid(rows)
  for value, size in ((10, 30 * 40), (20, 50 * 20), (30, 30 * 40)):
    assert (found == value).all(-1).sum() >= size
  # `b` begins to the right of the widest title of the first column.
  assert np.nonzero((found == 20).all(-1).sum(axis=0) >= 50)[0].min() > 80
  assert found.shape[0] >= 30 + 50 + 20


def test_pictures_are_read_as_they_were_written(tmp_path):
  own = {"image": picture(1), "truth": picture(2), panels.PREDICTED: picture(3), "z": picture(4)}
  panels.write(own, tmp_path / "eval_0")
  again = panels.read(tmp_path / "eval_0")
  assert list(again) == list(own)
  for title, found in again.items():
    np.testing.assert_array_equal(found, own[title])
  (tmp_path / "eval_0/0_image.png").write_bytes(b"cut")
  with pytest.raises(OSError, match="cannot identify"):
    panels.read(tmp_path / "eval_0")


def test_predictions_stand_between_the_truth_and_the_legend():
  found = panels.beside({"small": network(50), "large": network(60)}, columns=4)
  columns = [np.nonzero((found == v).all(-1))[1].min() for v in (1, 50, 60, 4)]
  assert columns == sorted(columns)
  assert panels.beside({"small": network(50), "large": network(60)}, columns=2).shape[0] > 2 * 30


def test_a_network_that_was_shown_another_example_has_a_row_of_its_own():
  networks = {"a": network(50), "other": network(60, image=2), "b": network(70)}
  found = panels.beside(networks)
  wide = {v: (found == v).all(-1).sum(1) >= 40 for v in (1, 2, 50, 60, 70)}
  top = {v: np.nonzero(rows)[0].min() for v, rows in wide.items()}
  assert top[1] == top[50] == top[70] < top[2] == top[60]
