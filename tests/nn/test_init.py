import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.nn import Conv
from cnnlab.nn.init import classifier_normal, gate_bias, kaiming_fan_in, kaiming_fan_out

KEY = jax.random.key(0)


@pytest.mark.parametrize(
  ("initializer", "expected"),
  [
    (kaiming_fan_out(), (2 / (3 * 3 * 128)) ** 0.5),
    (kaiming_fan_in(), (2 / (3 * 3 * 64)) ** 0.5),
    (classifier_normal(), 0.01),
  ],
)
def test_deviation_and_shape_of_the_normal(initializer, expected):
  weights = np.asarray(initializer(KEY, (3, 3, 64, 128), jnp.float32))
  assert weights.std() == pytest.approx(expected, rel=0.01)
  assert abs(weights.mean()) < 0.02 * expected
  # A truncated normal would have nothing beyond two deviations.
  assert (np.abs(weights) > 2 * expected).mean() == pytest.approx(0.0455, abs=0.003)


def test_kaiming_keeps_variance_through_relu_layers():
  x = jax.random.normal(KEY, (4, 16, 16, 32))
  for layer in range(8):
    conv = Conv(32, 3, padding="same", kernel_init=kaiming_fan_in(), use_bias=False)
    x = jax.nn.relu(conv.init_with_output(jax.random.key(layer), x)[0])
  # Zeros at the borders take a little of each layer's variance.
  assert 0.1 < float(jnp.square(x).mean()) < 2


def test_gate_bias_is_negative():
  np.testing.assert_array_equal(gate_bias()(KEY, (3,)), [-2.0] * 3)
