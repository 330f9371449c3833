"""Messages between all pairs against loops, and the approximation by cells against both."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from cnnlab.crf import gaussian
from cnnlab.crf.cells import approximate, cell_order
from cnnlab.crf.gaussian import appearance_features, exact, normalized, smoothness

from .fields import gaussian_pairs, normalized_pairs

SIZE = (6, 7)


def draws(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(pairs, values):
  return (pairs @ values.reshape(len(pairs), -1)).reshape(values.shape)


def photograph():
  """A real photograph of 48x64 pixels in units of its standard deviation."""
  image = load_sample_image("china.jpg")[:426, :568].astype(np.float32)
  small = jnp.asarray(image[:420, :560].reshape(60, 7, 80, 7, 3).mean((1, 3)))
  return small / small.std()


@pytest.mark.parametrize("entries", [1, 5 * 42, 10_000])
def test_exact_messages_do_not_depend_on_the_blocks(entries, monkeypatch):
  monkeypatch.setattr(gaussian, "ENTRIES", entries)
  image, values = draws(*SIZE, 3), draws(*SIZE, 4, seed=1)
  features = appearance_features(jnp.asarray(image), 2.5, 0.8)
  pairs = gaussian_pairs(image, 2.5, 0.8)
  np.testing.assert_allclose(exact(features)(jnp.asarray(values)), apply(pairs, values), atol=1e-5)
  found = normalized(exact(features), SIZE)(jnp.asarray(values))
  np.testing.assert_allclose(found, apply(normalized_pairs(pairs), values), atol=1e-5)


def test_smoothness_is_exact_by_its_axes():
  values = draws(*SIZE, 2)
  pairs = gaussian_pairs(values, 1.7)
  found = smoothness(SIZE, 1.7)(jnp.asarray(values))
  np.testing.assert_allclose(found, apply(pairs, values), atol=1e-5)


def test_the_kernel_is_symmetric():
  image, a, b = draws(*SIZE, 3), draws(*SIZE, 1, seed=1), draws(*SIZE, 1, seed=2)
  messages = normalized(exact(appearance_features(jnp.asarray(image), 2.0, 1.0)), SIZE)
  there, back = float((a * messages(b)).sum()), float((b * messages(a)).sum())
  assert there == pytest.approx(back, abs=1e-4)


def test_normalized_rows_sum_to_less_than_one_in_the_mean():
  messages = normalized(exact(appearance_features(jnp.asarray(draws(*SIZE, 3)), 2.0, 1.0)), SIZE)
  # 1 is the largest eigenvalue of the normalized kernel with its diagonal, all others are smaller.
  ones = jnp.ones((*SIZE, 1))
  assert float((ones * messages(ones)).sum()) < ones.size


def test_cells_hold_every_pixel_once_and_divide_what_varies_most():
  features = jnp.asarray(draws(50, 2) * np.array([1.0, 30.0], np.float32))
  order = np.asarray(cell_order(features, 9))
  assert order.shape == (8, 7)
  inside = order[order < 50]
  np.testing.assert_array_equal(np.sort(inside), np.arange(50))
  along = [np.asarray(features)[cell[cell < 50], 1] for cell in order]
  assert all(a.max() <= b.min() for a, b in itertools.pairwise(along) if len(b))


def test_a_cell_for_each_pixel_is_exact():
  image, values = draws(*SIZE, 3), jnp.asarray(draws(*SIZE, 2, seed=1))
  features = appearance_features(jnp.asarray(image), 2.5, 0.8)
  np.testing.assert_allclose(approximate(features, 64)(values), exact(features)(values), atol=2e-5)


def test_the_approximation_agrees_with_the_exact_messages_on_a_photograph():
  """The tolerances that docs/crf.md states for a cell for every five pixels, and for fewer."""
  image = photograph()
  size = image.shape[:2]
  features = appearance_features(image, 15.0, 0.2)
  values = jax.nn.softmax(2 * jax.random.normal(jax.random.key(0), (*size, 6)))
  errors = []
  for cells in (64, 256, 1024):
    close = jax.jit(lambda f, v, n=cells: normalized(approximate(f, n), size)(v))
    errors.append(np.abs(close(features, values) - normalized(exact(features), size)(values)))
  means = [error.mean() for error in errors]
  assert means[0] > 2 * means[1] > 4 * means[2]
  assert means[2] < 0.002
  assert np.quantile(errors[2], 0.99) < 0.02
