import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.nn import SwitchableNorm, importance_weights

from .references import randoms

X = (randoms(4, 3, 5, 6) * np.arange(1, 7) + np.arange(6) - 2).astype(np.float32)


def softmax(weights):
  return np.exp(weights) / np.exp(weights).sum()


def by_the_paper(x, params, batch_mean=None, batch_var=None):
  """Equations 2 and 3 of arXiv:1806.10779, each statistic straight from its pixels."""
  x = np.asarray(x, np.float64)
  means = [x.mean(axes, keepdims=True) for axes in ((1, 2), (1, 2, 3), (0, 1, 2))]
  variances = [x.var(axes, keepdims=True) for axes in ((1, 2), (1, 2, 3), (0, 1, 2))]
  if batch_mean is not None:
    means[2], variances[2] = batch_mean, batch_var
  mean = sum(w * m for w, m in zip(softmax(params["mean_weight"]), means, strict=True))
  variance = sum(w * v for w, v in zip(softmax(params["var_weight"]), variances, strict=True))
  return (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]


@pytest.fixture
def params():
  return {
    "scale": randoms(6),
    "bias": randoms(6, seed=1),
    "mean_weight": randoms(3, seed=2),
    "var_weight": randoms(3, seed=3),
  }


def test_training_and_evaluation_by_the_paper(params):
  layer = SwitchableNorm(use_running_average=False)
  variables = layer.init(jax.random.key(0), X)
  assert {k: v.shape for k, v in variables["params"].items()} == {
    k: v.shape for k, v in params.items()
  }
  variables = {**variables, "params": params}
  y, updates = layer.apply(variables, X, mutable=["batch_stats"])
  np.testing.assert_allclose(y, by_the_paper(X, params), rtol=1e-4, atol=1e-4)
  stats = updates["batch_stats"]
  np.testing.assert_allclose(stats["mean"], 0.1 * X.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * X.var((0, 1, 2)), rtol=1e-4)
  z = SwitchableNorm(use_running_average=True).apply({**variables, **updates}, X)
  expected = by_the_paper(X, params, np.asarray(stats["mean"]), np.asarray(stats["var"]))
  np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-4)


def test_starts_with_equal_weights_that_learn():
  layer = SwitchableNorm(use_running_average=False)
  variables = layer.init(jax.random.key(0), X)

  def loss(params):
    out = layer.apply({**variables, "params": params}, X, mutable=["batch_stats"])[0]
    return (out**3).mean()

  gradient = jax.grad(loss)(variables["params"])
  assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(gradient))
  ((path, weights),) = importance_weights({"block": {"norm1": variables["params"]}}).items()
  assert path == "block/norm1"
  np.testing.assert_allclose(weights.mean + weights.variance, [1 / 3] * 6, rtol=1e-6)


def test_importance_is_the_softmax_by_layer(params):
  found = importance_weights({"a": {"norm": params}, "b": {"conv": {"kernel": np.ones(2)}}})
  assert list(found) == ["a/norm"]
  np.testing.assert_allclose(found["a/norm"].mean, softmax(params["mean_weight"]), rtol=1e-6)
  np.testing.assert_allclose(found["a/norm"].variance, softmax(params["var_weight"]), rtol=1e-6)


def test_importance_is_sorted_by_number(params):
  tree = {"block10": {"norm1": params}, "block2": {"norm2": params, "norm1": params}}
  assert list(importance_weights(tree)) == ["block2/norm1", "block2/norm2", "block10/norm1"]


def test_needs_space():
  with pytest.raises(ShapeError, match="no spatial axes"):
    SwitchableNorm(use_running_average=True).init(jax.random.key(0), jnp.ones((2, 3)))


@pytest.mark.parametrize("mean", [10, 14, 20])
def test_nearly_constant_activations_stay_finite(mean):
  """Rounding of E[x²] - E[x]² must not make a variance negative."""
  draws = np.random.default_rng(0).normal(mean, 1e-4, (50, 4, 3, 3, 6)).astype(np.float32)
  layer = SwitchableNorm(use_running_average=False)
  variables = layer.init(jax.random.key(0), draws[0])

  @jax.jit
  def run(x):
    return layer.apply(variables, x, mutable=["batch_stats"])

  def loss(x):
    return jnp.sum(run(x)[0] ** 2)

  gradient = jax.jit(jax.grad(loss))
  for x in draws:
    y, updates = run(x)
    assert np.isfinite(y).all()
    assert np.isfinite(gradient(x)).all()
    assert (updates["batch_stats"]["var"] >= 0).all()
