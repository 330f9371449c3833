"""The picture of shared and local filters."""

import numpy as np
import pytest

from cnnlab.errors import RunError
from cnnlab.experiments.sharing.filters import filters_figure, filters_of_sweep, mosaic


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
