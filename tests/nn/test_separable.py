import jax
import numpy as np

from cnnlab.nn import DepthwiseSeparableConv, SpatiallySeparableConv, count_parameters

from .references import correlate, randoms


def test_depthwise_separable_is_a_filter_a_channel_then_a_mixture():
  x = randoms(2, 8, 9, 3)
  layer = DepthwiseSeparableConv(5, 3, stride=2, padding=1, multiplier=2, fit="crop")
  y, variables = layer.init_with_output(jax.random.key(0), x)
  params = variables["params"]
  middle = correlate(x, params["depthwise"]["kernel"], (2, 2), ((1, 1), (1, 1)), groups=3)
  expected = middle @ np.asarray(params["pointwise"]["kernel"], np.float64)[0, 0]
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
  assert count_parameters(params) == 3 * 3 * 3 * 2 + 3 * 2 * 5 + 5


def test_spatially_separable_is_the_outer_product_of_its_filters():
  x = randoms(1, 8, 9, 1)
  layer = SpatiallySeparableConv(1, (3, 5), stride=(2, 1), padding=(1, 2), fit="crop")
  y, variables = layer.init_with_output(jax.random.key(0), x)
  params = jax.tree.map(np.asarray, variables["params"])
  window = np.outer(params["vertical"]["kernel"].ravel(), params["horizontal"]["kernel"].ravel())
  expected = correlate(x, window[:, :, None, None], (2, 1), ((1, 1), (2, 2)))
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_spatially_separable_between_channels_and_same():
  x = randoms(1, 7, 7, 4)
  layer = SpatiallySeparableConv(6, 3, padding="same", between=2)
  y, variables = layer.init_with_output(jax.random.key(0), x)
  assert y.shape == (1, 7, 7, 6)
  assert count_parameters(variables["params"]) == 3 * 4 * 2 + 3 * 2 * 6 + 6
