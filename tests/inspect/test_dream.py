"""DeepDream raises what it climbs; models of classes against the closed form of a linear network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.inspect.dream import ClassModel, Dream, class_model, deep_dream, total_variation
from cnnlab.inspect.network import PixelNetwork
from cnnlab.models import create_model

IMAGE = np.random.default_rng(0).integers(60, 200, size=(32, 24, 3)).astype(np.float32)


class Linear(nn.Module):
  """Logits are a matrix times the pixels."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(3, name="head")(x.reshape(len(x), -1)), {}


def of_pixels(model, shape):
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(
    jnp.zeros((1, *shape))
  )
  return PixelNetwork(model, variables, lambda images: (images - 120.0) / 60.0)


@pytest.fixture(scope="module")
def network():
  return of_pixels(create_model("convnet", features=(6, 8), num_classes=2), (16, 16, 3))


def response(network, image, channels):
  """In other words than the module's: the mean of the squares of the positive part."""
  found = np.asarray(network.layers(jnp.asarray(image)[None], ["block2"])[0])[..., channels]
  return float((np.maximum(found, 0) ** 2).mean())


@pytest.mark.parametrize("channels", [None, (1, 5)])
def test_a_dream_raises_the_response_at_any_size(network, channels):
  settings = Dream(octaves=2, steps=5, step_size=4.0, jitter=4)
  image, table = deep_dream(network, IMAGE, "block2", channels, settings)
  assert image.shape == IMAGE.shape
  assert image.min() >= 0
  assert image.max() <= 255
  chosen = list(range(8)) if channels is None else list(channels)
  assert response(network, image, chosen) > 2 * response(network, IMAGE, chosen)
  assert len(table) == 10
  last = table[table["octave"] == 1]["objective"].to_numpy()
  assert last[-1] > last[0]
  again = deep_dream(network, IMAGE, "block2", channels, settings)
  np.testing.assert_array_equal(image, again.image)


def test_a_step_without_jitter_is_the_normalized_gradient(network):
  settings = Dream(octaves=1, steps=1, step_size=2.0, jitter=0)
  found = deep_dream(network, IMAGE, "block2", settings=settings)

  def objective(image):
    return jnp.mean(network.layers(image[None], ["block2"])[0] ** 2)  # behind a ReLU

  slope = np.asarray(jax.grad(objective)(jnp.asarray(IMAGE)))
  expected = np.clip(IMAGE + 2 * slope / np.abs(slope).mean(), 0, 255)
  np.testing.assert_allclose(found.image, expected, atol=1e-2)
  assert found.table["objective"][0] == pytest.approx(
    response(network, IMAGE, list(range(8))), rel=1e-4
  )


def test_dreams_that_make_no_sense_are_told(network):
  with pytest.raises(ConfigError, match="no map 'block3'"):
    deep_dream(network, IMAGE, "block3")
  with pytest.raises(ConfigError, match="from 0 to 7"):
    deep_dream(network, IMAGE, "block2", [8])
  with pytest.raises(ConfigError, match="octaves 0"):
    Dream(octaves=0)


def test_the_class_models_of_a_linear_network_have_a_closed_form():
  """The logit less a quadratic, each pixel on its own: its maximum, clipped to the range."""
  shape = (3, 4, 3)
  network, penalty = of_pixels(Linear(), shape), 2.0
  settings = ClassModel(steps=400, step_size=8.0, penalty=penalty)
  found = class_model(network, shape, [2, 0], settings)
  weights = np.asarray(network.variables["params"]["head"]["kernel"])[:, [2, 0]].T.reshape(
    2, *shape
  )
  count = np.prod(shape)  # of logit - penalty * mean(((x - 127.5) / 127.5)²)
  expected = np.clip(127.5 + weights / 60 * 127.5**2 * count / (2 * penalty), 0, 255)
  assert expected.std() > 0
  np.testing.assert_allclose(found, expected, atol=1.0)


def test_class_models_raise_their_logit(network):
  found = class_model(network, (16, 16, 3), [0, 1], ClassModel(steps=20, penalty=0.1, jitter=2))
  gray = jnp.full((1, 16, 16, 3), 127.5)
  logits, start = (
    network.model.apply(network.variables, network.to_inputs(jnp.asarray(x)), train=False)[0]
    for x in (found, gray)
  )
  assert logits[0, 0] > start[0, 0] + 0.1
  assert logits[1, 1] > start[0, 1] + 0.1
  with pytest.raises(ConfigError, match="from 0 to 1"):
    class_model(network, (16, 16, 3), [2])
  dense = of_pixels(
    create_model("fcn32s_resnet20", num_classes=2, blocks=1, width=0.25), (16, 16, 3)
  )
  with pytest.raises(ConfigError, match="is no classifier"):
    class_model(dense, (16, 16, 3), [0])


def test_total_variation_sums_squared_differences_of_neighbors():
  down = [(IMAGE[i + 1] - IMAGE[i]) ** 2 for i in range(31)]
  across = [(IMAGE[:, j + 1] - IMAGE[:, j]) ** 2 for j in range(23)]
  assert float(total_variation(jnp.asarray(IMAGE))) == pytest.approx(
    np.sum(down) + np.sum(across), rel=1e-5
  )
