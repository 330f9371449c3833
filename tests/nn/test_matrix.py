"""Convolution as a product of matrices, and its gradients as convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from cnnlab.errors import ShapeError
from cnnlab.nn import conv_matrix, im2col
from cnnlab.nn.conv import convolve
from tests.nn.references import correlate, randoms

CASES = [
  {},
  {"padding": 1},
  {"stride": (2, 1), "padding": ((1, 0), (2, 1))},
  {"dilation": (1, 2), "padding": "same"},
]


def geometry_of(case):
  """The reference's arguments of a case on images of 7x8 pixels and windows of 2x3."""
  pads = {"same": ((0, 1), (2, 2)), 1: ((1, 1), (1, 1)), 0: ((0, 0), (0, 0))}
  padding = case.get("padding", 0)
  return {
    "stride": case.get("stride", (1, 1)),
    "pads": padding if isinstance(padding, tuple) else pads[padding],
    "dilation": case.get("dilation", (1, 1)),
  }


@pytest.mark.parametrize("case", CASES)
def test_both_products_are_the_convolution(case):
  x, kernel = randoms(2, 7, 8, 3), randoms(2, 3, 3, 4, seed=1)
  expected = correlate(x, kernel, **geometry_of(case))
  rows = im2col(jnp.asarray(x), (2, 3), **case)
  assert rows.shape == (*expected.shape[:3], 2 * 3 * 3)
  np.testing.assert_allclose(rows @ kernel.reshape(-1, 4), expected, atol=1e-4)
  matrix = conv_matrix(kernel, (7, 8), **case)
  assert matrix.shape == (expected[0].size, x[0].size)
  for image, out in zip(x.astype(np.float64), expected, strict=True):
    np.testing.assert_allclose(matrix @ image.ravel(), out.ravel(), atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_transposed_matrix_is_the_gradient_of_the_image(case):
  x, kernel = randoms(1, 7, 8, 3), randoms(2, 3, 3, 4, seed=1)
  y, back = jax.vjp(lambda x: convolve(x, jnp.asarray(kernel), **case), jnp.asarray(x))
  gradient = randoms(*y.shape, seed=2)
  ours = conv_matrix(kernel, (7, 8), **case).T @ gradient.astype(np.float64).ravel()
  np.testing.assert_allclose(back(jnp.asarray(gradient))[0].ravel(), ours, atol=1e-4)


def test_one_row_of_pixels_gives_a_toeplitz_matrix():
  weights = np.array([1.0, 2.0, 3.0])
  matrix = conv_matrix(weights.reshape(1, 3, 1, 1), (1, 6)).toarray()
  first_row, first_column = [1, 2, 3, 0, 0, 0], [1, 0, 0, 0]
  np.testing.assert_array_equal(matrix, linalg.toeplitz(first_column, first_row))


def test_gradients_are_convolutions_with_flipped_filters_and_with_the_image():
  x, kernel = randoms(2, 7, 8, 3), randoms(3, 3, 3, 4, seed=1)
  y, back = jax.vjp(lambda x, k: convolve(x, k, padding=1), jnp.asarray(x), jnp.asarray(kernel))
  gradient = randoms(*y.shape, seed=2)
  of_image, of_kernel = back(jnp.asarray(gradient))
  flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
  np.testing.assert_allclose(
    of_image, correlate(gradient, flipped, pads=((1, 1), (1, 1))), atol=1e-4
  )
  # The batch takes the place of the channels.
  images, weights = x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
  found = correlate(images, weights, pads=((1, 1), (1, 1)))
  np.testing.assert_allclose(of_kernel, found.transpose(1, 2, 0, 3), atol=1e-4)


def test_shapes_that_do_not_fit_are_refused():
  with pytest.raises(ShapeError, match="im2col, height"):
    im2col(jnp.zeros((1, 4, 4, 1)), 3, stride=2)
  with pytest.raises(ShapeError, match="conv_matrix, width"):
    conv_matrix(np.zeros((3, 5, 1, 1)), 4)
  with pytest.raises(ShapeError, match="4 axes|height, width, in, out"):
    conv_matrix(np.zeros((3, 3)), 4)
