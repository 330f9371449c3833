"""Grids of filters and activations: order, numbers and scales."""

import jax
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.inspect.grids import MOST, activations, attribution_figure, filters, tiles_figure
from cnnlab.inspect.network import Network
from cnnlab.models import create_model


@pytest.fixture(scope="module")
def network():
  model = create_model("resnet20", blocks=1, width=0.25, num_classes=2)
  shape = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
  shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), shape)
  rng = np.random.default_rng(0)
  return Network(model, jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes))


def test_filters_are_those_of_the_first_convolution_by_norm(network):
  tiles = filters(network, (8, 8, 3))
  kernel = network.variables["params"]["conv1"]["kernel"]
  norms = [np.linalg.norm(kernel[..., i]) for i in range(4)]
  assert tiles.layer == "conv1"
  assert tiles.table["filter"].tolist() == sorted(range(4), key=lambda i: -norms[i])
  np.testing.assert_allclose(tiles.table["norm"], sorted(norms, reverse=True), rtol=1e-6)
  for image, number in zip(tiles.images, tiles.table["filter"], strict=True):
    np.testing.assert_array_equal(image, kernel[..., number])
  with pytest.raises(ConfigError, match="Allowed: conv1"):
    filters(network, (8, 8, 3), "conv2")


def test_a_grid_numbers_its_tiles_and_has_one_scale(network):
  image_map = np.random.default_rng(1).normal(size=(4, 4, MOST + 1)).astype(np.float32)
  tiles = activations("stage2", image_map)
  assert tiles.table["channel"][0] == image_map.mean((0, 1)).argmax()
  figure = tiles_figure(tiles, "Activations of stage2")
  panels = figure.axes[:MOST]
  assert [panel.get_title() for panel in panels] == [str(n) for n in tiles.table["channel"][:MOST]]
  most = np.abs(tiles.images[:MOST]).max()
  assert {panel.images[0].get_clim() for panel in panels} == {(-most, most)}
  assert f"{MOST} of {MOST + 1} are shown" in figure._supxlabel.get_text()


def test_attributions_stand_beside_their_image_with_their_scale():
  images = np.full((2, 4, 4, 1), 200, np.uint8)
  maps = np.zeros((2, 4, 4), np.float32)
  maps[0, 1, 2], maps[1, 0, 0] = 3, -2
  figure = attribution_figure(images, ["a.png\n1", "b.png\n2"], {"occlusion": maps})
  titles = [axes.get_title() for axes in figure.axes]
  assert titles == ["a.png\n1", "occlusion\n0 to 3", "b.png\n2", "occlusion\n±2"]
