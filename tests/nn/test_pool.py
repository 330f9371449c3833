import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import (
  avg_pool,
  global_avg_pool,
  global_max_pool,
  max_pool,
  max_pool_with_switches,
  max_unpool,
)
from cnnlab.nn.pool import adaptive_avg_pool, adaptive_max_pool

from .references import randoms, windows

CASES = [
  # window, stride, padding, fit, zeros around the image as NumPy pads them
  (2, None, 0, "exact", ((0, 0), (0, 0))),
  (3, 2, 0, "crop", ((0, 0), (0, 0))),
  (3, 2, 1, "crop", ((1, 1), (1, 1))),
  (3, 2, 0, "pad", ((0, 1), (0, 1))),
  ((2, 3), (1, 2), ((0, 1), (1, 0)), "crop", ((0, 1), (1, 0))),
  (3, 1, "same", "exact", ((1, 1), (1, 1))),
]


@pytest.mark.parametrize(("window", "stride", "padding", "fit", "edges"), CASES)
def test_max_and_its_gradient_by_the_definition(window, stride, padding, fit, edges):
  # Small whole numbers, so that ties are common: the first maximum must take the gradient.
  x = np.random.default_rng(0).integers(0, 4, (2, 8, 8, 3)).astype(np.float32)
  sizes = window if isinstance(window, tuple) else (window, window)
  strides = sizes if stride is None else stride if isinstance(stride, tuple) else (stride, stride)
  padded = np.pad(x, ((0, 0), *edges, (0, 0)), constant_values=-np.inf)
  pooled, pull = jax.vjp(lambda x: max_pool(x, window, stride, padding, fit), x)
  cotangent = randoms(*pooled.shape)
  gradient = np.zeros(padded.shape)
  for i, j, pixels in windows(padded, sizes, strides):
    np.testing.assert_array_equal(pooled[:, i, j], pixels.max(1))
    first = pixels.argmax(1)
    rows = i * strides[0] + first // sizes[1]
    columns = j * strides[1] + first % sizes[1]
    for n in range(2):
      for c in range(3):
        gradient[n, rows[n, c], columns[n, c], c] += cotangent[n, i, j, c]
  (top, _), (left, _) = edges
  inside = gradient[:, top : top + 8, left : left + 8]
  assert pooled.shape[1] == i + 1
  np.testing.assert_allclose(pull(cotangent)[0], inside, rtol=1e-5, atol=1e-5)


def test_max_pools_gradient_by_finite_differences():
  x = jnp.asarray(randoms(1, 6, 6, 2))
  check_grads(
    lambda x: max_pool(x, 3, 1) ** 2, (x,), order=1, modes=("fwd", "rev"), eps=1e-3, rtol=0.01
  )


@pytest.mark.parametrize(("window", "stride", "fit"), [(2, 2, "exact"), (3, 2, "pad")])
def test_average_pools_gradient_is_its_transpose(window, stride, fit):
  x, y = randoms(1, 6, 6, 2), randoms(1, 3, 3, 2, seed=1)
  pooled, pull = jax.vjp(jax.jit(lambda x: avg_pool(x, window, stride, 0, fit)), x)
  assert float((pooled * y).sum()) == pytest.approx(float((x * pull(y)[0]).sum()), abs=1e-4)


def test_max_pool_lets_nan_and_minus_infinity_through():
  x = jnp.full((1, 4, 4, 1), -jnp.inf).at[0, 0, 0, 0].set(jnp.nan).at[0, 3, 3, 0].set(1.0)
  pooled = np.asarray(max_pool(x, 2))[0, :, :, 0]
  np.testing.assert_array_equal(pooled, [[np.nan, -np.inf], [-np.inf, 1.0]])


def test_max_pool_of_a_large_window():
  x = randoms(1, 17, 17, 1)
  pooled, pull = jax.vjp(lambda x: max_pool(x, 17), x)
  gradient = np.asarray(pull(jnp.ones_like(pooled))[0])
  assert pooled.item() == x.max()
  np.testing.assert_array_equal(gradient, x == x.max())


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize(("window", "stride", "padding", "fit", "edges"), CASES)
def test_average_by_the_definition(window, stride, padding, fit, edges, count_padding):
  x = randoms(2, 8, 8, 3)
  sizes = window if isinstance(window, tuple) else (window, window)
  strides = sizes if stride is None else stride if isinstance(stride, tuple) else (stride, stride)
  padded = np.pad(x, ((0, 0), *edges, (0, 0)), constant_values=np.nan)
  pooled = avg_pool(x, window, stride, padding, fit, count_padding)
  for i, j, pixels in windows(padded, sizes, strides):
    expected = np.nan_to_num(pixels).mean(1) if count_padding else np.nanmean(pixels, axis=1)
    np.testing.assert_allclose(pooled[:, i, j], expected, rtol=1e-5, atol=1e-6)
  assert pooled.shape[1:3] == (i + 1, j + 1)


def test_global_pooling():
  x = randoms(2, 3, 4, 5)
  np.testing.assert_allclose(global_avg_pool(x), x.mean((1, 2)), rtol=1e-5)
  np.testing.assert_array_equal(global_max_pool(x), x.max((1, 2)))


@pytest.mark.parametrize("pool", [max_pool, avg_pool, max_pool_with_switches])
def test_windows_that_do_not_fit_are_refused(pool):
  x = jnp.ones((1, 7, 8, 1))
  with pytest.raises(ShapeError, match=f"{pool.__name__}, height.*6 and 8"):
    pool(x, 2)
  with pytest.raises(ShapeError, match="expected"):
    pool(x[0], 2)


@pytest.mark.parametrize(
  ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0), ((2, 3), (2, 1), (0, 1))]
)
def test_switches_point_at_the_maxima_and_unpooling_puts_them_back(window, stride, padding):
  x = randoms(2, 7, 6, 3)
  pooled, switches = max_pool_with_switches(x, window, stride, padding, "crop")
  np.testing.assert_array_equal(pooled, max_pool(x, window, stride, padding, "crop"))
  for n, c in np.ndindex(2, 3):
    np.testing.assert_array_equal(x[n, :, :, c].ravel()[switches[n, :, :, c]], pooled[n, :, :, c])
  restored = np.asarray(max_unpool(pooled, switches, (7, 6)))
  chosen = restored != 0
  np.testing.assert_array_equal(restored[chosen], x[chosen])
  distinct = {(n, c, int(s)) for (n, _, _, c), s in np.ndenumerate(switches)}
  assert chosen.sum() == len(distinct)


def test_unpooling_with_sums_is_the_gradient_of_pooling():
  x, values = randoms(2, 7, 7, 3), randoms(2, 3, 3, 3, seed=1)
  _, switches = max_pool_with_switches(x, 3, 2)
  _, pull = jax.vjp(lambda x: max_pool(x, 3, 2), x)
  expected = pull(jnp.asarray(values))[0]
  np.testing.assert_allclose(max_unpool(values, switches, (7, 7), "sum"), expected, atol=1e-6)


def test_unpooling_without_overlap_needs_no_scatter():
  x = jnp.asarray(randoms(2, 7, 6, 3))
  pooled, switches = max_pool_with_switches(x, (2, 3), fit="pad")
  values = jnp.asarray(randoms(*pooled.shape, seed=1))
  slow, pull = jax.vjp(lambda v: max_unpool(v, switches, (7, 6)), values)
  fast, pull_fast = jax.vjp(lambda v: max_unpool(v, switches, (7, 6), window=(2, 3)), values)
  np.testing.assert_array_equal(fast, slow)
  np.testing.assert_array_equal(pull_fast(x)[0], pull(x)[0])


def test_unpooling_keeps_negative_values():
  x = jnp.asarray([[-3.0, -1.0], [-4.0, -2.0]])[None, :, :, None]
  pooled, switches = max_pool_with_switches(x, 2)
  restored = np.asarray(max_unpool(pooled, switches, (2, 2)))[0, :, :, 0]
  np.testing.assert_array_equal(restored, [[0, -1], [0, 0]])


def test_bad_unpooling_is_refused():
  x = jnp.ones((1, 2, 2, 1))
  with pytest.raises(ConfigError, match="did you mean 'max'"):
    max_unpool(x, jnp.zeros((1, 2, 2, 1), int), (4, 4), "maxi")
  with pytest.raises(ShapeError, match="differ in shape"):
    max_unpool(x, jnp.zeros((1, 2, 1, 1), int), (4, 4))
  with pytest.raises(ConfigError, match="less than window"):
    max_pool_with_switches(x, 2, 1, 2)


@pytest.mark.parametrize(
  ("height", "width", "size"), [(13, 9, 6), (3, 4, 7), (14, 7, 7), (5, 5, 1)]
)
@pytest.mark.parametrize(
  ("pooling", "reduce"), [(adaptive_avg_pool, np.mean), (adaptive_max_pool, np.max)]
)
def test_adaptive_pooling_against_a_loop(height, width, size, pooling, reduce):
  x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
  expected = np.zeros((2, size, size, 3))
  for i in range(size):
    for j in range(size):
      rows = slice(int(np.floor(i * height / size)), int(np.ceil((i + 1) * height / size)))
      columns = slice(int(np.floor(j * width / size)), int(np.ceil((j + 1) * width / size)))
      expected[:, i, j] = reduce(x[:, rows, columns], (1, 2))
  np.testing.assert_allclose(pooling(jnp.asarray(x), size), expected, atol=1e-5)
