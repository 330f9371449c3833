"""What units respond to most: the matched filter's inner product, and a search by hand."""

import jax
import numpy as np
import pytest

from cnnlab.errors import ConfigError, DataError
from cnnlab.inspect.network import Network, layer_outputs, layers
from cnnlab.inspect.units import strongest
from cnnlab.models import create_model

IMAGES = np.random.default_rng(0).normal(size=(6, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
  model = create_model(
    "convnet", features=(5, 4), hidden=(), num_classes=2, kernel_size=3, norm="none", padding="valid",
    pool_fit="crop",
  )  # fmt: skip
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(IMAGES)
  return Network(model, variables)


def test_a_unit_of_the_first_convolution_is_a_matched_filter(network):
  """Its response is the inner product of its kernel with the patch in the box that is told."""
  found = strongest(network, [IMAGES[:4], IMAGES[4:]], "block1_conv1", count=4)
  kernel = np.asarray(network.variables["params"]["block1_conv1"]["kernel"])
  bias = np.asarray(network.variables["params"]["block1_conv1"]["bias"])
  for channel in range(5):
    assert (np.diff(found.values[channel]) <= 0).all()
    for rank in range(4):
      top, left, bottom, right = found.box(channel, rank)
      patch = IMAGES[found.images[channel, rank], top:bottom, left:right]
      response = (patch * kernel[..., channel]).sum() + bias[channel]
      assert found.values[channel, rank] == pytest.approx(response, abs=1e-4)


@pytest.mark.parametrize("per_image", [1, 3])
def test_the_strongest_are_those_of_a_search_by_hand(network, per_image):
  """Across images and within them, where fields may not overlap by more than half."""
  found = strongest(network, [IMAGES[:4], IMAGES[4:]], "block2", count=7, per_image=per_image)
  maps = np.asarray(layer_outputs(*network, IMAGES, ["block2"])[0])
  assert maps.shape[1:3] == (1, 1)
  maps = np.asarray(layer_outputs(*network, IMAGES, ["block1"])[0])
  found = strongest(network, [IMAGES[:4], IMAGES[4:]], "block1", count=7, per_image=per_image)
  field = found.fields[
    0
  ]  # of 4 pixels, 2 apart, so that neighbors are too near only if they are equal
  assert (field.size, field.steps[1]) == (4, 2)
  for channel in range(5):
    values = []
    for image in maps[..., channel]:
      values += sorted(image.ravel(), reverse=True)[:per_image]
    expected = sorted(values, reverse=True)[:7]
    np.testing.assert_allclose(found.values[channel][: len(expected)], expected, atol=1e-5)
    for value, image, (row, column) in zip(
      found.values[channel], found.images[channel], found.places[channel], strict=True
    ):
      assert maps[image, row, column, channel] == pytest.approx(value, abs=1e-5)
  np.testing.assert_allclose(found.mean, maps.mean((0, 1, 2)), atol=1e-5)


def test_peaks_of_one_image_lie_half_a_field_apart(network):
  found = strongest(network, [IMAGES[:1]], "block2_conv1", count=3, per_image=3)
  field = found.fields[0]  # 8 pixels, 2 apart
  assert (field.size, field.steps[1]) == (8, 2)
  for channel in range(4):
    places = found.places[channel][np.isfinite(found.values[channel])]
    for i in range(len(places)):
      for j in range(i):
        assert np.abs(places[i] - places[j]).max() >= 2


def test_selective_units_come_first(network):
  found = strongest(network, [IMAGES], "block1", count=2)
  ratio = found.values.mean(1) / np.abs(found.mean)
  assert found.most_selective(3).tolist() == np.argsort(-ratio)[:3].tolist()


def test_maps_have_names(network):
  known = layers(network, (12, 12, 3))
  assert list(known) == ["block1_conv1", "block2_conv1", "block1", "block2"]
  assert known["block1_conv1"] == (10, 10, 5)
  with pytest.raises(ConfigError, match="no map 'block1_conv'; did you mean 'block1_conv1'"):
    strongest(network, [IMAGES], "block1_conv")
  with pytest.raises(ConfigError, match="allowed: 1 and more"):
    strongest(network, [IMAGES], "block1", count=0)
  with pytest.raises(DataError, match="no image"):
    strongest(network, [], "block1")


def test_maps_of_larger_images_pass_over_the_head(network):
  """The classifier fits one size of image, the convolutions any."""
  larger = np.zeros((1, 20, 16, 3), np.float32)
  assert layer_outputs(*network, larger, ["block1"])[0].shape == (1, 9, 7, 5)
  local = create_model("convnet", features=(2,), hidden=(), num_classes=2, shared=False)
  variables = local.init(jax.random.key(0), IMAGES, train=False)
  with pytest.raises(ConfigError, match="takes images of one size only, not 20x16"):
    layer_outputs(local, variables, larger, ["block1"])
