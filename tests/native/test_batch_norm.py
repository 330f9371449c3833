"""Native batch norm against Flax's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab import native
from cnnlab.nn.norm import BatchNorm


def outcome(layer, x, weigh):
  """Output, gradients of parameters and input, and new statistics of a layer in training."""
  variables = layer.init(jax.random.key(0), x)
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), variables["params"]
  )

  def loss(params, x):
    y, new = layer.apply(
      {"params": params, "batch_stats": variables["batch_stats"]}, x, mutable=["batch_stats"]
    )
    return (jnp.sin(y.astype(jnp.float32)) * weigh).sum(), (y, new)

  return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)


@pytest.mark.parametrize(
  "shape", [(4, 5, 6, 16), (3, 1, 1, 7), (7, 3), (1, 9, 9, 1), (130, 2, 2, 33)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_output_gradients_and_averages_are_flaxs(shape, dtype):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(3.0, 2.0, shape), dtype)
  weigh = jnp.asarray(rng.normal(size=shape), jnp.float32)
  options = {"use_running_average": False, "momentum": 0.9, "dtype": jnp.dtype(dtype)}
  found = outcome(BatchNorm(**options), x, weigh)
  expected = outcome(nn.BatchNorm(**options), x, weigh)
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  tolerance = 2e-4 if dtype == "float32" else 2e-2
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(
      np.asarray(ours, np.float32), np.asarray(theirs, np.float32), rtol=tolerance, atol=tolerance
    )


def test_variance_of_a_large_mean_is_exact():
  x = jnp.asarray(np.random.default_rng(0).normal(1e4, 1.0, (64, 8, 8, 3)), jnp.float32)
  layer = BatchNorm(use_running_average=False, momentum=0.0)
  _, new = layer.init_with_output(jax.random.key(0), x)
  _, new = layer.apply(new, x, mutable=["batch_stats"])
  exact = np.asarray(x, np.float64).var((0, 1, 2))
  np.testing.assert_allclose(new["batch_stats"]["var"], exact, rtol=1e-4)


def test_forward_mode_second_derivatives_and_vmap_are_xlas():
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(4, 3, 3, 5)), jnp.float32)
  layer = BatchNorm(use_running_average=False)
  variables = layer.init(jax.random.key(0), x)

  def loss(x):
    return jnp.sin(layer.apply(variables, x, mutable=["batch_stats"])[0]).sum()

  def products(x):
    hessian = jax.jvp(jax.grad(loss), (x,), (x + 1,))
    return hessian, jax.vmap(loss)(jnp.stack([x, 2 * x, x * x]))

  found = products(x)
  with native.disabled():
    expected = products(x)
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_evaluation_is_flaxs():
  x = jnp.ones((2, 3, 3, 4))
  layer = BatchNorm(use_running_average=True)
  assert "cnnlab" not in str(
    jax.make_jaxpr(lambda x: layer.init_with_output(jax.random.key(0), x))(x)
  )
