"""Style transfer: losses against naive Gram matrices in NumPy, and that they fall."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.inspect.network import PixelNetwork
from cnnlab.inspect.style import Style, style_losses, style_transfer
from cnnlab.models import create_model

RNG = np.random.default_rng(0)
CONTENT, PAINTING, OTHER = (
  RNG.integers(0, 256, size=(h, w, 3)).astype(np.float32) for h, w in ((16, 12), (12, 20), (16, 12))
)
SETTINGS = Style(("block2_conv1",), ("block1_conv1", "block2"), style_weight=7.0, variation=0.01)


@pytest.fixture(scope="module")
def network():
  model = create_model("convnet", features=(4, 5), num_classes=2)
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(
    jnp.zeros((1, 8, 8, 3))
  )
  return PixelNetwork(model, variables, lambda images: (images - 120.0) / 60.0)


def naive_gram(found):
  """Products of channels, one position at a time."""
  height, width, channels = found.shape
  total = np.zeros((channels, channels))
  for i in range(height):
    for j in range(width):
      for a in range(channels):
        total[a] += found[i, j, a] * found[i, j]
  return total / (height * width)


def test_losses_are_those_of_naive_gram_matrices(network):
  found = style_losses(network, CONTENT, PAINTING, SETTINGS)(network, jnp.asarray(OTHER))

  def rectified(image, name):
    return np.maximum(np.asarray(network.layers(jnp.asarray(image)[None], [name])[0][0]), 0)

  content = (
    0.5 * ((rectified(OTHER, "block2_conv1") - rectified(CONTENT, "block2_conv1")) ** 2).sum()
  )
  assert float(found["content"]) == pytest.approx(content, rel=1e-4)
  style = 0.0
  for name, channels in (("block1_conv1", 4), ("block2", 5)):
    difference = naive_gram(rectified(OTHER, name)) - naive_gram(rectified(PAINTING, name))
    style += 7.0 * 0.5 * (difference**2).sum() / (4 * channels**2)
  assert float(found["style"]) == pytest.approx(style, rel=1e-4)
  down, across = np.diff(OTHER, axis=0), np.diff(OTHER, axis=1)
  variation = 0.01 * ((down**2).sum() + (across**2).sum())
  assert float(found["variation"]) == pytest.approx(variation, rel=1e-4)


def test_a_transfer_lowers_the_loss_within_the_range(network):
  weights = Style(("block2_conv1",), ("block1_conv1",), style_weight=100.0, steps=15)
  image, table = style_transfer(network, CONTENT, PAINTING, weights)
  losses = style_losses(network, CONTENT, PAINTING, weights)
  start, end = (sum(map(float, losses(network, jnp.asarray(x)).values())) for x in (CONTENT, image))
  assert end < 0.5 * start
  assert image.min() >= 0
  assert image.max() <= 255
  assert (np.diff(table["total"]) <= 1e-6).all()
  assert table["total"].iloc[-1] == pytest.approx(end, rel=1e-3)


def test_content_alone_is_kept(network):
  weights = Style(("block1_conv1",), (), style_weight=0.0, steps=3)
  np.testing.assert_allclose(
    style_transfer(network, CONTENT, PAINTING, weights).image, CONTENT, atol=1e-3
  )


def test_what_makes_no_sense_is_told(network):
  with pytest.raises(ConfigError, match="no map 'conv4_2'"):
    style_losses(network, CONTENT, PAINTING)
  with pytest.raises(ConfigError, match="style_weight -1"):
    Style(style_weight=-1)
