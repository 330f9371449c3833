from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.nn import StochasticDepth, survival_probabilities

BRANCH = jnp.arange(1.0, 1001.0)[:, None, None, None] * jnp.ones((1, 2, 1, 1))


def drop(train, seed=0, **options):
  layer = StochasticDepth(**options)
  return np.asarray(layer.apply({}, BRANCH, train=train, rngs={"dropout": jax.random.key(seed)}))


def test_linear_decay_is_equation_4():
  probabilities = survival_probabilities(54, 0.5)
  expected = [1 - block / 54 * 0.5 for block in range(1, 55)]
  np.testing.assert_allclose(probabilities, expected)
  assert probabilities[-1] == 0.5
  # Section 3: the expected depth is (3L - 1)/4, "approximately 40" of 54 blocks.
  assert sum(probabilities) == pytest.approx((3 * 54 - 1) / 4)


def test_uniform_and_off():
  assert survival_probabilities(3, 0.7, "uniform") == (0.7,) * 3
  assert survival_probabilities(3, 1.0) == (1.0,) * 3


def test_per_sample_keeps_or_drops_whole_examples():
  y = drop(True, survival=0.7)
  kept = y[:, 0, 0, 0] != 0
  np.testing.assert_array_equal(y, np.where(kept[:, None, None, None], BRANCH, 0))
  assert kept.mean() == pytest.approx(0.7, abs=0.05)


def test_per_batch_keeps_or_drops_all():
  draws = [drop(True, seed, survival=0.7, per="batch") for seed in range(60)]
  kept = [bool((y == BRANCH).all()) for y in draws]
  dropped = [bool((y == 0).all()) for y in draws]
  assert all(k != d for k, d in zip(kept, dropped, strict=True))
  assert np.mean(kept) == pytest.approx(0.7, abs=0.15)


def test_scaled_at_test_time_as_in_the_paper_or_in_training():
  np.testing.assert_allclose(drop(False, survival=0.7), 0.7 * BRANCH)
  np.testing.assert_array_equal(drop(False, survival=0.7, scale="train"), BRANCH)
  y = drop(True, survival=0.5, scale="train")
  assert set(np.unique(y / BRANCH)) == {0.0, 2.0}


def test_survival_of_one_needs_no_randomness():
  y = StochasticDepth().apply({}, BRANCH, train=True)
  np.testing.assert_array_equal(y, BRANCH)


class Residual(nn.Module):
  """x + branch(x), computed in full or skipped."""

  skip: bool
  survival: float = 0.5

  @nn.compact
  def __call__(self, x, train):
    drop = StochasticDepth(self.survival, per="batch", name="drop")

    def branch(module, x):
      del module
      x = nn.Dense(3, name="dense")(x)
      return nn.BatchNorm(use_running_average=not train, name="norm")(x)

    if self.skip:
      return x + drop.skip(self, branch, x, like=x, train=train)
    return x + drop(branch(self, x), train=train)


@pytest.mark.parametrize("train", [True, False])
def test_skipping_gives_the_same_output_and_gradient(train):
  x = jax.random.normal(jax.random.key(0), (4, 3))
  variables = Residual(False).init(jax.random.key(1), x, False)
  assert jax.tree.structure(variables) == jax.tree.structure(
    Residual(True).init(jax.random.key(1), x, True)
  )

  @partial(jax.jit, static_argnums=0)
  def run(skip, key):
    def loss(params):
      everything = {**variables, "params": params}
      rngs = {"dropout": key}
      y, updates = Residual(skip).apply(everything, x, train, rngs=rngs, mutable=["batch_stats"])
      return (y**2).sum(), updates

    (value, updates), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, gradient, updates

  outcomes = set()
  for seed in range(6):
    key = jax.random.key(seed)
    value, gradient, updates = run(False, key)
    other, other_gradient, skipped = run(True, key)
    np.testing.assert_allclose(other, value, rtol=1e-5)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      other_gradient,
      gradient,
    )
    survived = float(jnp.abs(gradient["dense"]["kernel"]).sum()) > 0
    outcomes.add(survived)
    expected = updates if survived else variables
    np.testing.assert_allclose(
      skipped["batch_stats"]["norm"]["mean"], expected["batch_stats"]["norm"]["mean"], rtol=1e-5
    )
  assert outcomes == ({True, False} if train else {True})


def test_bad_options_are_refused():
  with pytest.raises(ConfigError, match="did you mean 'linear'"):
    survival_probabilities(3, 0.5, "liner")
  for survival in (0.0, 1.5, -0.1):
    with pytest.raises(ConfigError, match="probability"):
      survival_probabilities(3, survival)
    with pytest.raises(ConfigError, match="probability"):
      drop(True, survival=survival)
  with pytest.raises(ConfigError, match="'per'.*did you mean 'sample'"):
    drop(True, survival=0.5, per="samples")
  with pytest.raises(ConfigError, match="did you mean 'train'"):
    drop(True, survival=0.5, scale="trian")
  with pytest.raises(ConfigError, match="only per='batch' can"):
    StochasticDepth(0.5).skip(nn.Dense(1), lambda m, x: x, BRANCH, like=BRANCH, train=True)
