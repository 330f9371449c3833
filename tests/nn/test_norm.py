import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import (
  FrozenBatchNorm,
  GroupNorm,
  LayerNorm,
  LocalResponseNorm,
  MeanOnlyBatchNorm,
  freeze_batch_norm,
  local_response_norm,
  make_layers,
)
from cnnlab.nn.norm import group_count

from .references import randoms


def images():
  """Activations whose mean, spread and batch differ by channel."""
  return randoms(3, 4, 5, 6) * np.arange(1, 7) + np.arange(6) - 2


def standardized(x, axes, epsilon=1e-5):
  x = np.asarray(x, np.float64)
  return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def applied(layer, x):
  """Returns the output with random scale and bias, and these."""
  variables = layer.init(jax.random.key(0), x)
  scale, bias = randoms(x.shape[-1], seed=1), randoms(x.shape[-1], seed=2)
  assert {key: v.shape for key, v in variables["params"].items()} == {
    "scale": scale.shape,
    "bias": bias.shape,
  }
  return layer.apply({"params": {"scale": scale, "bias": bias}}, x), scale, bias


@pytest.mark.parametrize(
  ("layer", "x", "axes"),
  [
    (LayerNorm(), images(), (1, 2, 3)),
    (LayerNorm(), images()[:, 0], (2,)),
    (LayerNorm(), images()[:, 0, 0], (1,)),
    (GroupNorm(groups="channels"), images(), (1, 2)),
    (GroupNorm(groups=1), images(), (1, 2, 3)),
  ],
)
def test_layer_and_instance_norm_by_their_formula(layer, x, axes):
  y, scale, bias = applied(layer, x.astype(np.float32))
  np.testing.assert_allclose(y, standardized(x, axes) * scale + bias, rtol=1e-4, atol=1e-4)


def test_group_norm_by_its_formula():
  x = images().astype(np.float32)
  y, scale, bias = applied(GroupNorm(groups=2), x)
  halves = [standardized(x[..., part], (1, 2, 3)) for part in (slice(0, 3), slice(3, 6))]
  np.testing.assert_allclose(y, np.concatenate(halves, -1) * scale + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("channels", "groups"), [(64, 32), (256, 32), (16, 8), (48, 24), (100, 25), (7, 1), (1, 1)]
)
def test_group_count(channels, groups):
  assert group_count(channels) == groups


def test_batch_norm_by_its_formula_and_its_moving_averages():
  x = images().astype(np.float32)
  norm = make_layers("batch", train=True).norm(name="norm")
  variables = norm.init(jax.random.key(0), x)
  y, updates = norm.apply(variables, x, mutable=["batch_stats"])
  np.testing.assert_allclose(y, standardized(x, (0, 1, 2)), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(updates["batch_stats"]["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
  expected = 0.9 + 0.1 * x.var((0, 1, 2))
  np.testing.assert_allclose(updates["batch_stats"]["var"], expected, rtol=1e-4)
  evaluated = make_layers("batch", train=False).norm(name="norm").apply({**variables, **updates}, x)
  stats = updates["batch_stats"]
  expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
  np.testing.assert_allclose(evaluated, expected, rtol=1e-4, atol=1e-4)


def test_frozen_batch_norm_is_a_trained_batch_norm_without_parameters():
  x = images().astype(np.float32)
  trained = {
    "params": {"norm": {"scale": randoms(6), "bias": randoms(6, seed=1)}, "conv": {"bias": 1.0}},
    "batch_stats": {"norm": {"mean": randoms(6, seed=2), "var": randoms(6, seed=3) ** 2}},
  }
  frozen = freeze_batch_norm(trained)
  assert set(frozen["params"]) == {"conv"}
  assert set(frozen["batch_stats"]["norm"]) == {"mean", "var", "scale", "bias"}
  stats = {"batch_stats": frozen["batch_stats"]["norm"]}
  expected = (
    make_layers("batch", train=False)
    .norm(name="norm")
    .apply({"params": trained["params"]["norm"], "batch_stats": trained["batch_stats"]["norm"]}, x)
  )
  y, after = FrozenBatchNorm().apply(stats, x, mutable=["batch_stats"])
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
  jax.tree.map(np.testing.assert_array_equal, after, stats)
  fresh = FrozenBatchNorm().init(jax.random.key(0), x)
  assert "params" not in fresh
  assert jax.tree.structure(fresh) == jax.tree.structure(stats)


def test_mean_only_batch_norm():
  x = images().astype(np.float32)
  layer = MeanOnlyBatchNorm(use_running_average=False)
  variables = layer.init(jax.random.key(0), x)
  bias = randoms(6)
  variables = {**variables, "params": {"bias": bias}}
  y, updates = layer.apply(variables, x, mutable=["batch_stats"])
  np.testing.assert_allclose(y, x - x.mean((0, 1, 2)) + bias, rtol=1e-4, atol=1e-4)
  mean = updates["batch_stats"]["mean"]
  np.testing.assert_allclose(mean, 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
  z = MeanOnlyBatchNorm(use_running_average=True).apply({**variables, **updates}, x)
  np.testing.assert_allclose(z, x - mean + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize(("form", "divisor"), [("alexnet", 1), ("pytorch", None)])
def test_local_response_norm_by_its_formula(size, form, divisor):
  x = randoms(2, 2, 3, 7)
  y = local_response_norm(x, size, 0.3, 0.6, 1.5, form)
  for i in range(7):
    first, last = max(i - size // 2, 0), min(i + (size - 1) // 2, 6)
    total = (np.asarray(x[..., first : last + 1], np.float64) ** 2).sum(-1)
    expected = x[..., i] / (1.5 + 0.3 * total / (divisor or size)) ** 0.6
    np.testing.assert_allclose(y[..., i], expected, rtol=1e-5)


def test_local_response_norm_layer_has_alexnets_constants():
  x = randoms(1, 2, 2, 8) * 30
  layer = LocalResponseNorm()
  assert layer.init(jax.random.key(0), x) == {}
  total = np.stack([(x[..., max(i - 2, 0) : i + 3] ** 2).sum(-1) for i in range(8)], -1)
  np.testing.assert_allclose(layer.apply({}, x), x / (2 + 1e-4 * total) ** 0.75, rtol=1e-5)


def test_half_precision_keeps_statistics_in_float32():
  x = jnp.asarray(images() * 0.1 + 100, jnp.bfloat16)
  y = GroupNorm(groups="channels", dtype=jnp.bfloat16).init_with_output(jax.random.key(0), x)[0]
  assert y.dtype == jnp.bfloat16
  expected = standardized(np.asarray(x), (1, 2))
  np.testing.assert_allclose(np.asarray(y, np.float32), expected, atol=0.02)


def test_what_cannot_be_normalized_is_refused():
  with pytest.raises(ConfigError, match="groups=4 does not divide 6"):
    GroupNorm(groups=4).init(jax.random.key(0), images())
  for x in (images()[:, 0, 0], images()[:, :1, :1]):
    with pytest.raises(ShapeError, match="only one pixel per channel"):
      GroupNorm(groups="channels").init(jax.random.key(0), x)
  with pytest.raises(ConfigError, match="did you mean 'alexnet'"):
    local_response_norm(jnp.ones((1, 4)), form="alexnt")
