"""Fully connected layers as convolutions: the same numbers either way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.nn import Conv, conv_as_dense, dense_as_conv

KERNEL = jax.random.normal(jax.random.key(0), (5 * 3 * 4, 6))


def convolved(kernel, x):
  layer = Conv(kernel.shape[3], kernel.shape[:2], use_bias=False)
  return layer.apply({"params": {"kernel": kernel}}, x)


def test_on_its_own_map_the_convolution_gives_what_the_layer_gives():
  x = jax.random.normal(jax.random.key(1), (2, 5, 3, 4))
  expected = np.asarray(x).reshape(2, -1) @ np.asarray(KERNEL)
  found = convolved(dense_as_conv(KERNEL, (5, 3)), x)
  assert found.shape == (2, 1, 1, 6)
  np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5, atol=1e-5)


def test_on_a_larger_map_it_slides():
  x = jax.random.normal(jax.random.key(1), (2, 7, 6, 4))
  found = convolved(dense_as_conv(KERNEL, (5, 3)), x)
  assert found.shape == (2, 3, 4, 6)
  for i in range(3):
    for j in range(4):
      window = np.asarray(x[:, i : i + 5, j : j + 3]).reshape(2, -1)
      np.testing.assert_allclose(found[:, i, j], window @ np.asarray(KERNEL), rtol=1e-4, atol=1e-5)


def test_there_and_back():
  np.testing.assert_array_equal(conv_as_dense(dense_as_conv(KERNEL, (5, 3))), KERNEL)
  assert dense_as_conv(KERNEL, 1).shape == (1, 1, 60, 6)


def test_what_does_not_fit():
  with pytest.raises(ShapeError, match="7x7"):
    dense_as_conv(KERNEL, 7)
  with pytest.raises(ShapeError, match="four axes"):
    conv_as_dense(jnp.zeros((3, 4)))
