"""ZFNet's deconvolution against its definition, layer by layer, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.inspect.deconvolution import deconvolution
from cnnlab.inspect.network import Network, layer_outputs
from cnnlab.models import create_model
from cnnlab.nn import LocalResponseNorm
from cnnlab.nn.pool import max_pool_with_switches, max_unpool

IMAGES = np.random.default_rng(0).normal(size=(3, 13, 13, 3)).astype(np.float32)
CHANNELS = np.array([2, 0, 1])


def made(name, **options):
  model = create_model(name, num_classes=2, **options)
  return Network(model, jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(IMAGES))


def scattered(upper, kernel, padding, size):
  """The transposed convolution, in NumPy: each value adds its kernel to the pixels that it saw."""
  batch, rows, columns, _ = upper.shape
  window = kernel.shape[0]
  image = np.zeros((batch, size + 2 * padding, size + 2 * padding, kernel.shape[2]))
  for b, i, j in np.ndindex(batch, rows, columns):
    image[b, i : i + window, j : j + window] += kernel @ upper[b, i, j]
  return image[:, padding : padding + size, padding : padding + size]


def test_of_one_linear_convolution_it_is_the_transposed_convolution():
  """And the gradient times the response."""
  network = made("convnet", features=(4,), hidden=(), downsample="none")
  found = deconvolution(network, IMAGES, "block1_conv1", CHANNELS, np.full((3, 2), 5))
  kernel = np.asarray(network.variables["params"]["block1_conv1"]["kernel"])
  response = np.asarray(layer_outputs(*network, IMAGES, ["block1_conv1"])[0])
  one = np.zeros((3, 13, 13, 4))
  one[np.arange(3), 5, 5, CHANNELS] = response[np.arange(3), 5, 5, CHANNELS]
  np.testing.assert_allclose(found, scattered(one, kernel, 1, 13), atol=1e-5)
  slope = jax.grad(
    lambda x: layer_outputs(*network, x, ["block1_conv1"])[0][jnp.arange(3), 5, 5, CHANNELS].sum()
  )(IMAGES)
  scale = response[np.arange(3), 5, 5, CHANNELS][:, None, None, None]
  np.testing.assert_allclose(found, scale * slope, atol=1e-5)


def test_with_relus_pools_and_response_norm_it_follows_its_definition():
  """Down with switches, up with unpooling, ReLU and transposed convolution; the norm is passed over."""
  network = made(
    "convnet",
    features=(6, 5),
    hidden=(),
    norm="lrn",
    pool_window=3,
    pool_fit="crop",
    padding="same",
  )
  params = jax.tree.map(np.asarray, network.variables["params"])
  x, switches = jnp.asarray(IMAGES), []
  for block in ("block1", "block2"):
    own = params[f"{block}_conv1"]
    x = jax.lax.conv_general_dilated(
      x, own["kernel"], (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    size = x.shape[1]
    x = LocalResponseNorm().apply({}, nn.relu(x + own["bias"]))
    x, places = max_pool_with_switches(x, 3, 2, 0, "crop")
    switches.append((places, size))
  for image in range(3):
    best = np.unravel_index(np.asarray(x)[image, :, :, CHANNELS[image]].argmax(), x.shape[1:3])
    one = np.zeros_like(x)
    one[image, *best, CHANNELS[image]] = x[image, *best, CHANNELS[image]]
    for block, (places, size) in zip(("block2", "block1"), switches[::-1], strict=True):
      up = max_unpool(jnp.asarray(one, jnp.float32), places, (size, size), "sum")
      one = scattered(np.maximum(np.asarray(up), 0), params[f"{block}_conv1"]["kernel"], 1, size)
    found = deconvolution(network, IMAGES, "block2", CHANNELS)
    np.testing.assert_allclose(found[image], one[image], atol=1e-4)
  assert np.abs(found).max() > 0.01


def test_it_is_not_the_gradient_where_there_are_relus():
  network = made("convnet", features=(6, 5), hidden=(), downsample="none")
  found = deconvolution(network, IMAGES, "block2", CHANNELS, np.full((3, 2), 6))

  def response(x):
    value = layer_outputs(*network, x, ["block2"])[0][jnp.arange(3), 6, 6, CHANNELS]
    return jnp.square(value).sum() / 2  # whose slope is the value times its own

  slope = np.asarray(jax.grad(response)(IMAGES))
  assert np.abs(found - slope).max() > 0.1 * np.abs(slope).max()


def test_encoders_of_other_networks_have_units_too():
  model = create_model("fcn32s_resnet20", num_classes=3, blocks=1, width=0.25)
  images = np.resize(IMAGES, (2, 16, 16, 3))
  network = Network(model, jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(images))
  assert np.abs(deconvolution(network, images, "stage2", [0, 1])).max() > 0


@pytest.mark.parametrize(
  ("channels", "places", "words"),
  [
    ([0, 1, 4], None, "below 4"),
    ([0, 1], None, "shape"),
    (CHANNELS, [[0, 13]] * 3, "below 13 and 13"),
  ],
)
def test_units_that_are_not_there_are_told(channels, places, words):
  network = made("convnet", features=(4,), hidden=(), downsample="none")
  with pytest.raises(ConfigError, match=words):
    deconvolution(network, IMAGES, "block1", channels, places)
  with pytest.raises(ConfigError, match="defined for ReLUs"):
    deconvolution(Network(network.model.clone(act="elu"), {}), IMAGES, "block1", CHANNELS)
