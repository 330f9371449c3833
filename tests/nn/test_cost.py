import jax
import jax.numpy as jnp
import pytest

from cnnlab.nn import Conv, ConvTranspose, count_parameters, multiply_adds

X = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)


def applied(layer):
  return lambda x: layer.init_with_output(jax.random.key(0), x)[0]


@pytest.mark.parametrize(
  ("layer", "expected"),
  [
    (Conv(6, 3, padding=1), 2 * 8 * 8 * 6 * 3 * 3 * 4),
    (Conv(6, 3, padding=1, stride=2, fit="crop"), 2 * 4 * 4 * 6 * 3 * 3 * 4),
    (Conv(6, 3, padding=2, dilation=2, groups=2), 2 * 8 * 8 * 6 * 3 * 3 * 2),
    (Conv(4, 3, padding=1, groups=4), 2 * 8 * 8 * 4 * 3 * 3),
    (ConvTranspose(6, 2, stride=2), 2 * 8 * 8 * 6 * 2 * 2 * 4),
  ],
)
def test_convolutions(layer, expected):
  assert multiply_adds(applied(layer), X) == expected


def test_matrix_products():
  a = jax.ShapeDtypeStruct((5, 2, 3), jnp.float32)
  b = jax.ShapeDtypeStruct((5, 3, 7), jnp.float32)
  assert multiply_adds(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), a, b) == 5 * 2 * 3 * 7
  assert multiply_adds(lambda a: a + 1, a) == 0


def test_looks_into_jit_loops_custom_rules_and_conditionals():
  w = jax.ShapeDtypeStruct((3, 3), jnp.float32)
  step = jax.checkpoint(jax.jit(lambda w: w @ w))
  assert multiply_adds(step, w) == 27
  assert multiply_adds(lambda w: jax.lax.scan(lambda c, _: (step(c), 0), w, None, 5), w) == 135
  assert multiply_adds(lambda w: jax.lax.cond(w.sum() > 0, step, lambda w: w, w), w) == 27
  ruled = jax.custom_vjp(lambda w: w @ w)
  ruled.defvjp(lambda w: (w @ w, w), lambda w, g: (g @ w.T + w.T @ g,))
  assert multiply_adds(ruled, w) == 27
  assert multiply_adds(jax.grad(lambda w: ruled(w).sum()), w) == 81


def test_a_gradient_costs_twice_the_forward_pass_more():
  conv = Conv(4, 3, padding=1, use_bias=False)
  variables = jax.eval_shape(conv.init, jax.random.key(0), X)
  forward = multiply_adds(conv.apply, variables, X)
  both = multiply_adds(jax.grad(lambda v, x: conv.apply(v, x).sum(), (0, 1)), variables, X)
  # The weight gradient's padded window positions count fully, so it is not exactly twice.
  assert 1.9 * forward < both <= 3.1 * forward


def test_parameters():
  variables = jax.eval_shape(Conv(6, 3).init, jax.random.key(0), X)
  assert count_parameters(variables["params"]) == 3 * 3 * 4 * 6 + 6
  assert count_parameters({}) == 0
