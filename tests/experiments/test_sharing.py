"""The experiment on sharing: the shifted images, and the picture of shared and local filters."""

import numpy as np
import pytest
from scipy import ndimage

from cnnlab.data import DataSettings
from cnnlab.data.opening import open_sources
from cnnlab.errors import DataError, RunError
from cnnlab.experiments.sharing.filters import filters_figure, filters_of_sweep, mosaic
from cnnlab.experiments.sharing.shifted import moved, open_shifted


def test_a_mosaic_has_each_filter_at_its_place():
  filters = np.zeros((2, 3, 2, 2, 1))
  filters[1, 2, 0, 1] = 2.0
  filters[0, 1, 1, 0] = -1.0
  image = mosaic(filters)
  assert image.shape == (2 * 3 + 1, 3 * 3 + 1, 3)
  assert (image[::3] == 1).all()
  assert (image[:, ::3] == 1).all()
  assert (image[4, 8] == 1).all()  # the largest
  assert (image[2, 4] == 0.25).all()
  assert (image[1, 1] == 0.5).all()  # zero


def test_the_figure_shows_the_strongest_channels_beside_the_shared_filters():
  generator = np.random.default_rng(0)
  shared, local = generator.normal(size=(3, 3, 3, 5)), generator.normal(size=(4, 4, 3, 3, 3, 5))
  local[..., 3] *= 9
  local[..., 1] *= 3
  panels = filters_figure({"cifar10": (shared, local)}).axes
  titles = [panel.get_title("left") for panel in panels]
  assert "4 shared" in titles[0]
  assert "channel 3" in titles[1]
  assert "channel 1" in titles[2]
  np.testing.assert_array_equal(panels[1].images[0].get_array(), mosaic(local[..., 3]))


def test_a_sweep_without_finished_pairs_is_told(tmp_path):
  with pytest.raises(RunError, match="no seed"):
    filters_of_sweep(tmp_path)


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-4, 1)])
def test_an_image_moves_as_scipy_moves_it(shift):
  image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
  np.testing.assert_array_equal(
    moved(image, np.array(shift)), ndimage.shift(image, (*shift, 0), order=0, cval=0)
  )


def test_shifted_images_are_those_of_the_set_moved_by_all_shifts():
  whole = open_sources(DataSettings(name="digits"))
  splits = open_shifted("2:digits", DataSettings())
  for split, plain in zip(splits, (whole.train, whole.eval), strict=True):
    np.testing.assert_array_equal(split.labels(), plain.labels())
    assert {tuple(shift + 2) for shift in split.shifts} == set(np.ndindex(5, 5))
    some = [7, 3]
    for i, one, other in zip(
      some, split.read(some, None, 1), plain.read(some, None, 1), strict=True
    ):
      np.testing.assert_array_equal(one["image"], moved(other["image"], split.shifts[i]))
  (small,) = splits[0].read([0], (4, 4), 3)
  assert small["image"].shape == (4, 4, 3)
  assert not np.array_equal(splits[0].shifts[:50], splits[1].shifts[:50])


@pytest.mark.parametrize("rest", ["", "digits", "0:digits", "x:digits", "2:", "8:digits"])
def test_a_shift_that_cannot_be_is_told(rest):
  with pytest.raises(DataError, match="shifted"):
    open_shifted(rest, DataSettings())
