import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import Conv

from .references import correlate, randoms


@pytest.mark.parametrize(
  ("options", "reference"),
  [
    ({}, {}),
    ({"stride": 2, "padding": 1}, {"stride": (2, 2), "pads": ((1, 1), (1, 1))}),
    ({"padding": (2, 0), "stride": (1, 3)}, {"pads": ((2, 2), (0, 0)), "stride": (1, 3)}),
    ({"padding": ((0, 1), (2, 3))}, {"pads": ((0, 1), (2, 3))}),
    ({"dilation": 2, "padding": 2}, {"dilation": (2, 2), "pads": ((2, 2), (2, 2))}),
    ({"dilation": (1, 3), "groups": 2}, {"dilation": (1, 3), "groups": 2}),
    ({"groups": 4, "padding": "same"}, {"groups": 4, "pads": ((1, 1), (1, 1))}),
    ({"padding": "valid"}, {}),
  ],
)
def test_convolution_is_scipys(options, reference):
  x = randoms(2, 9, 11, 4)
  conv = Conv(8, 3, fit="crop", bias_init=jax.nn.initializers.normal(), **options)
  y, variables = conv.init_with_output(jax.random.key(0), x)
  kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
  expected = correlate(x, kernel, **reference) + np.asarray(bias)
  assert y.shape == expected.shape
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_a_1x1_convolution_is_a_dense_layer_at_each_pixel():
  x = randoms(2, 3, 4, 5)
  y, variables = Conv(6, 1, use_bias=False).init_with_output(jax.random.key(0), x)
  assert set(variables["params"]) == {"kernel"}
  np.testing.assert_allclose(y, x @ np.asarray(variables["params"]["kernel"])[0, 0], atol=1e-5)


def test_same_padding_puts_the_odd_zero_behind():
  x = randoms(1, 6, 6, 1)
  y, variables = Conv(1, 3, stride=2, padding="same").init_with_output(jax.random.key(0), x)
  pads = ((0, 1), (0, 1))
  expected = correlate(x, variables["params"]["kernel"], (2, 2), pads)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_pad_adds_zeros_behind():
  x = randoms(1, 6, 6, 1)
  y, variables = Conv(1, 3, stride=2, fit="pad").init_with_output(jax.random.key(0), x)
  expected = correlate(x, variables["params"]["kernel"], (2, 2), ((0, 1), (0, 1)))
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_computes_in_the_type_asked_for_and_keeps_float32_parameters():
  x = randoms(1, 4, 4, 2)
  y, variables = Conv(3, 3, dtype="bfloat16").init_with_output(jax.random.key(0), x)
  assert y.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
  ("options", "error", "message"),
  [
    (
      {"kernel_size": 3, "stride": 2},
      ShapeError,
      "height.*gives no integer.*nearest sizes.* 7 and 9",
    ),
    ({"kernel_size": 9}, ShapeError, "smallest size that fits is 9"),
    ({"kernel_size": (1, 2, 3)}, ConfigError, "kernel_size"),
    ({"kernel_size": 3, "groups": 3}, ConfigError, "groups=3 must divide"),
    ({"kernel_size": 3, "padding": "smae"}, ConfigError, "did you mean 'same'"),
    ({"kernel_size": 3, "dilation": 0}, ConfigError, "dilation"),
  ],
)
def test_what_does_not_fit_is_refused(options, error, message):
  with pytest.raises(error, match=message):
    Conv(4, **options).init(jax.random.key(0), jnp.ones((1, 8, 8, 2)))
  with pytest.raises(ShapeError, match="expected"):
    Conv(4, 3).init(jax.random.key(0), jnp.ones((8, 8, 2)))
