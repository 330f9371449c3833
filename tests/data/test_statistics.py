import numpy as np
import pytest

from cnnlab.data import statistics
from cnnlab.errors import DataError


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).integers(0, 256, (5000, 4, 3, 2), dtype=np.uint8)


def never():
  raise AssertionError("must not be read")


def test_statistics_agree_with_numpy(images):
  found = statistics.image_statistics(images)
  np.testing.assert_allclose(found["mean_image"], images.mean(0), rtol=1e-12)
  np.testing.assert_allclose(found["std"], images.std((0, 1, 2)), rtol=1e-12)


def arrays(images, centering, scale):
  return statistics.centering_arrays(
    centering, scale, lambda: statistics.image_statistics(images), images.shape[-1]
  )


def test_channel_and_image_centering_share_their_scale(images):
  mean, scale = arrays(images, "channel", "std")
  np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(scale, images.std((0, 1, 2)), rtol=1e-6)
  image_mean, image_scale = arrays(images, "image", "std")
  np.testing.assert_allclose(image_mean, images.mean(0), rtol=1e-6)
  np.testing.assert_array_equal(image_scale, scale)
  assert arrays(images, "image", "unit")[1].tolist() == [255, 255]


def test_symmetric_and_none_need_neither_statistics_nor_scale():
  mean, scale = statistics.centering_arrays("symmetric", "std", never, 3)
  assert ((np.array([0, 127.5, 255]) - mean) / scale).tolist() == [-1, 0, 1]
  mean, scale = statistics.centering_arrays("none", "std", never, 3)
  assert ((np.array([0, 127.5, 255]) - mean) / scale).tolist() == [0, 0.5, 1]


def test_a_constant_channel_is_not_divided_by_zero(images):
  flat = images.copy()
  flat[..., 1] = 7
  mean, scale = arrays(flat, "channel", "std")
  assert mean[1] == 7
  assert scale[1] > 0


def test_unknown_names_get_the_nearest(images):
  with pytest.raises(DataError, match=r"data\.centering 'chanel'; did you mean 'channel'"):
    arrays(images, "chanel", "std")
  with pytest.raises(DataError, match=r"data\.scale 'sd'; did you mean 'std'"):
    arrays(images, "channel", "sd")
