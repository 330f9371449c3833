import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.nn import Conv, LocallyConnected, count_parameters

from .references import randoms


def test_each_position_has_its_own_filter():
  x = randoms(2, 6, 7, 3)
  layer = LocallyConnected(
    4, (3, 2), stride=(2, 1), padding=(1, 0), fit="crop", bias_init=jax.nn.initializers.normal()
  )
  y, variables = layer.init_with_output(jax.random.key(0), x)
  kernel, bias = (np.asarray(variables["params"][key]) for key in ("kernel", "bias"))
  padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
  expected = np.zeros((2, 3, 6, 4))
  for i in range(3):
    for j in range(6):
      patch = padded[:, 2 * i : 2 * i + 3, j : j + 2]
      expected[:, i, j] = np.einsum("nabc,abcf->nf", patch, kernel[i, j]) + bias[i, j]
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_with_equal_filters_it_is_a_convolution():
  x = randoms(1, 5, 5, 2)
  y, variables = Conv(3, 3, padding=1).init_with_output(jax.random.key(0), x)
  shared = variables["params"]
  local = {
    "kernel": jnp.broadcast_to(shared["kernel"], (5, 5, *shared["kernel"].shape)),
    "bias": jnp.broadcast_to(shared["bias"], (5, 5, 3)),
  }
  z = LocallyConnected(3, 3, padding=1).apply({"params": local}, x)
  np.testing.assert_allclose(z, y, rtol=1e-5, atol=1e-5)


def test_alexnets_first_layer_shared_and_unshared():
  x = jax.ShapeDtypeStruct((1, 227, 227, 3), jnp.float32)

  def parameters(layer):
    return count_parameters(jax.eval_shape(layer.init, jax.random.key(0), x))

  assert parameters(Conv(96, 11, stride=4)) == 34_944
  assert parameters(LocallyConnected(96, 11, stride=4)) == 105_705_600


def test_starts_with_the_variance_of_one_position():
  x = jnp.ones((1, 12, 12, 8))
  variables = LocallyConnected(16, 3).init(jax.random.key(0), x)
  assert np.std(variables["params"]["kernel"]) == pytest.approx((2 / 72) ** 0.5, rel=0.02)


def test_a_window_that_does_not_fit_is_refused():
  with pytest.raises(ShapeError, match="locally connected"):
    LocallyConnected(1, 3, stride=2).init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
