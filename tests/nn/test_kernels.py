"""Fixed kernels against SciPy's filters, and their separation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cnnlab.errors import ConfigError
from cnnlab.nn import KERNELS, Conv, SpatiallySeparableConv, fixed, gaussian, separable_terms
from cnnlab.nn.kernels import filter_images, separate
from tests.nn.references import randoms

REFERENCES = {
  "sobel_x": lambda x: ndimage.sobel(x, axis=1, mode="constant"),
  "sobel_y": lambda x: ndimage.sobel(x, axis=0, mode="constant"),
  "prewitt_x": lambda x: ndimage.prewitt(x, axis=1, mode="constant"),
  "prewitt_y": lambda x: ndimage.prewitt(x, axis=0, mode="constant"),
  "laplacian": lambda x: ndimage.laplace(x, mode="constant"),
  "sharpen": lambda x: x - ndimage.laplace(x, mode="constant"),
  "box": lambda x: ndimage.uniform_filter(x, 3, mode="constant"),
  "binomial": lambda x: ndimage.convolve1d(
    ndimage.convolve1d(x, [0.25, 0.5, 0.25], 0, mode="constant"),
    [0.25, 0.5, 0.25],
    1,
    mode="constant",
  ),
}


def by_channel(x, reference):
  x = x.astype(np.float64)
  return np.stack([np.stack([reference(one[..., c]) for c in range(x.shape[3])], -1) for one in x])


@pytest.mark.parametrize("name", REFERENCES)
def test_kernels_are_scipy_s(name):
  x = randoms(2, 7, 9, 3)
  ours = filter_images(jnp.asarray(x), KERNELS[name])
  np.testing.assert_allclose(ours, by_channel(x, REFERENCES[name]), atol=1e-5)


def test_every_kernel_has_a_reference_or_is_scharr():
  assert set(KERNELS) - set(REFERENCES) == {"scharr_x", "scharr_y"}
  np.testing.assert_array_equal(KERNELS["scharr_x"], [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]])
  np.testing.assert_array_equal(KERNELS["scharr_y"], KERNELS["scharr_x"].T)


def test_gaussian_is_scipy_s():
  x = randoms(1, 20, 21, 2)
  ours = filter_images(jnp.asarray(x), gaussian(1.3))
  reference = by_channel(x, lambda one: ndimage.gaussian_filter(one, 1.3, mode="constant"))
  np.testing.assert_allclose(ours, reference, atol=1e-5)
  for wrong in ((0.0, None), (float("nan"), 2), (1.0, -1)):
    with pytest.raises(ConfigError, match="deviation"):
      gaussian(*wrong)


def test_sobel_is_a_smoothing_column_times_a_difference():
  column, row = separate(KERNELS["sobel_x"])
  np.testing.assert_array_equal(np.outer(column, row), KERNELS["sobel_x"])
  assert column.tolist() == [1, 2, 1]
  assert row.tolist() == [-1, 0, 1]


def test_only_rank_one_separates_and_the_terms_add_up():
  with pytest.raises(ConfigError, match="rank 2"):
    separate(KERNELS["laplacian"])
  with pytest.raises(ConfigError, match=r"\(3,\)"):
    separable_terms(np.ones(3))
  with pytest.raises(ConfigError, match="finite"):
    separable_terms(np.full((3, 3), np.nan))
  kernel = np.random.default_rng(0).normal(size=(5, 3))
  terms = separable_terms(kernel)
  assert [np.linalg.matrix_rank(term) for term in terms] == [1, 1, 1]
  np.testing.assert_allclose(sum(terms), kernel, atol=1e-12)
  # Eckart and Young: what n terms leave is the norm of the singular values that follow.
  values = np.linalg.svd(kernel, compute_uv=False)
  left = np.linalg.norm(kernel - terms[0])
  assert left == pytest.approx(np.sqrt((values[1:] ** 2).sum()))
  assert separable_terms(np.zeros((3, 3))) == []


def test_a_separated_kernel_is_two_small_convolutions():
  x = randoms(2, 8, 9, 1)
  column, row = separate(gaussian(1.0, radius=2))
  layer = SpatiallySeparableConv(1, 5, padding=2, use_bias=False)
  params = {
    "vertical": {"kernel": jnp.asarray(column, jnp.float32).reshape(5, 1, 1, 1)},
    "horizontal": {"kernel": jnp.asarray(row, jnp.float32).reshape(1, 5, 1, 1)},
  }
  reference = by_channel(x, lambda one: ndimage.correlate(one, gaussian(1.0, 2), mode="constant"))
  np.testing.assert_allclose(layer.apply({"params": params}, x), reference, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_layer_starts_with_fixed_kernels_per_channel(groups):
  x = randoms(2, 6, 7, 3)
  kernels = KERNELS["sobel_x"], KERNELS["laplacian"]
  layer = Conv(6, 3, padding=1, groups=groups, use_bias=False, kernel_init=fixed(*kernels))
  y, _ = layer.init_with_output(jax.random.key(0), x)
  for i, name in enumerate(("sobel_x", "laplacian")):
    np.testing.assert_allclose(y[..., i::2], by_channel(x, REFERENCES[name]), atol=1e-5)


def test_fixed_kernels_that_do_not_fit_are_refused():
  with pytest.raises(ConfigError, match="one size"):
    fixed(KERNELS["box"], gaussian(1.0))
  with pytest.raises(ConfigError, match="one size"):
    fixed()
  start = fixed(KERNELS["box"], KERNELS["sharpen"])
  for shape in ((3, 3, 3, 5), (5, 5, 3, 6), (3, 3, 1, 3)):
    with pytest.raises(ConfigError, match="do not fit"):
      start(jax.random.key(0), shape)
