"""Batched matrix products by oneDNN against XLA's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab import native
from cnnlab.native.matmul import matmul


@pytest.mark.parametrize(("flip_a", "flip_b"), itertools.product((False, True), repeat=2))
@pytest.mark.parametrize("lead", [(1,), (3,), (2, 3)])
def test_product_and_derivatives_are_xlas(lead, flip_a, flip_b):
  rng = np.random.default_rng(0)
  a = jnp.asarray(rng.normal(size=(*lead, 7, 5) if flip_a else (*lead, 5, 7)), jnp.float32)
  b = jnp.asarray(rng.normal(size=(*lead, 4, 7) if flip_b else (*lead, 7, 4)), jnp.float32)

  def results(a, b):
    def loss(a, b):
      return jnp.sin(matmul(a, b, transposed_a=flip_a, transposed_b=flip_b)).sum()

    gradient = jax.grad(loss, (0, 1))
    return loss(a, b), gradient(a, b), jax.jvp(gradient, (a, b), (b_like(a), b_like(b)))

  def b_like(x):
    return jnp.cos(x)

  assert "cnnlab_matmul" in str(jax.make_jaxpr(results)(a, b))
  found = results(a, b)
  with native.disabled():
    expected = results(a, b)
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_bfloat16_and_vmap():
  rng = np.random.default_rng(0)
  a = jnp.asarray(rng.normal(size=(2, 3, 5, 7)), jnp.float32)
  b = jnp.asarray(rng.normal(size=(3, 7, 4)), jnp.float32)
  found = jax.vmap(matmul, (0, None))(a, b)
  np.testing.assert_allclose(found, np.matmul(a, b), rtol=1e-5, atol=1e-5)
  half = jnp.asarray(a, jnp.bfloat16)
  if native.computes(half):
    product = matmul(half, jnp.asarray(jnp.stack([b, b]), jnp.bfloat16))
    assert product.dtype == jnp.bfloat16
    np.testing.assert_allclose(product.astype(jnp.float32), found, rtol=0.05, atol=0.05)
