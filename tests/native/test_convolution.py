"""Convolution and its gradients by oneDNN against XLA's."""

import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from cnnlab import native
from cnnlab.native.convolution import Geometry, convolve, convolve_by_xla, convolve_transposed

# height, width, in, window, out, strides, padding, dilation, groups
KINDS = {
  "3x3": (9, 8, 6, (3, 3), 4, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
  "1x1": (7, 7, 16, (1, 1), 32, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
  "strided": (9, 11, 3, (3, 3), 8, (2, 3), ((1, 1), (1, 1)), (1, 1), 1),
  "strided_1x1": (8, 8, 16, (1, 1), 16, (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
  "grouped": (8, 8, 8, (3, 3), 16, (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
  "depthwise": (8, 9, 16, (3, 3), 16, (1, 1), ((1, 1), (1, 1)), (1, 1), 16),
  "depthwise_twice": (8, 8, 4, (3, 3), 8, (2, 2), ((1, 1), (1, 1)), (1, 1), 4),
  "dilated": (11, 10, 4, (3, 3), 4, (1, 1), ((2, 2), (2, 2)), (2, 2), 1),
  "asymmetric": (8, 7, 5, (4, 2), 3, (1, 1), ((2, 1), (0, 1)), (1, 1), 1),
  "cropped_at_the_end": (8, 8, 3, (3, 3), 5, (2, 2), ((0, -1), (1, 0)), (1, 1), 1),
  "padded_beyond_the_window": (4, 4, 2, (2, 2), 3, (1, 1), ((3, 3), (3, 3)), (1, 1), 1),
  "whole_image": (6, 5, 7, (6, 5), 4, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
}


def problem(kind, batch=3, dtype=np.float32):
  height, width, channels, window, out, strides, padding, dilation, groups = kind
  kernel = (*window, channels // groups, out)
  geometry = Geometry((height, width, channels), kernel, strides, padding, dilation, groups)
  rng = np.random.default_rng(0)
  x = rng.normal(size=(batch, height, width, channels))
  return jnp.asarray(x, dtype), jnp.asarray(rng.normal(size=kernel), dtype), geometry


def results(function, x, kernel):
  """The output and the gradients of a function whose second derivatives are not zero."""

  def loss(x, kernel):
    y = function(x, kernel)
    return jnp.sin(y.astype(jnp.float32)).sum(), y

  (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)
  return y, *gradients


def assert_close(found, expected, tolerance=3e-5):
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
    scale = max(np.abs(theirs).max(), 1e-3)
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_output_and_gradients_are_xlas(kind, batch):
  x, kernel, geometry = problem(KINDS[kind], batch)
  found = results(partial(convolve, geometry=geometry), x, kernel)
  assert_close(found, results(partial(convolve_by_xla, geometry=geometry), x, kernel))


@pytest.mark.parametrize("kind", ["3x3", "1x1", "strided", "grouped", "depthwise", "dilated"])
def test_bfloat16_is_xlas_to_its_rounding(kind):
  if not native.computes(jnp.zeros(1, jnp.bfloat16)):
    pytest.skip("the processor has no bfloat16 instructions")
  x, kernel, geometry = problem(KINDS[kind], dtype=jnp.bfloat16)
  exact = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
  y = jax.jit(partial(convolve, geometry=geometry))(x, kernel)
  assert y.dtype == jnp.bfloat16
  assert_close(y, convolve_by_xla(*exact, geometry).astype(jnp.bfloat16), 2**-7)
  cotangent = y

  def gradients(function, x, kernel, cotangent):
    return jax.vjp(partial(function, geometry=geometry), x, kernel)[1](cotangent)

  found = gradients(convolve, x, kernel, cotangent)
  expected = gradients(convolve_by_xla, *exact, jnp.asarray(cotangent, jnp.float32))
  assert_close(found, jax.tree.map(lambda g: g.astype(jnp.bfloat16), expected), 2**-7)


def random_kind(rng):
  groups = int(rng.choice([1, 1, 2, 3]))
  window = tuple(int(n) for n in rng.integers(1, 5, 2))
  dilation = tuple(int(n) for n in rng.integers(1, 3, 2))
  strides = tuple(int(n) for n in rng.integers(1, 4, 2))
  padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (2, 2)))
  size = tuple(
    max(1, d * (f - 1) + 1 - sum(p)) + int(rng.integers(0, 9))
    for d, f, p in zip(dilation, window, padding, strict=True)
  )
  channels = groups * int(rng.integers(1, 20))
  return (
    *size,
    channels,
    window,
    groups * int(rng.integers(1, 20)),
    strides,
    padding,
    dilation,
    groups,
  )


@pytest.mark.parametrize("seed", range(16))
def test_random_shapes(seed):
  rng = np.random.default_rng(seed)
  x, kernel, geometry = problem(random_kind(rng), batch=int(rng.integers(1, 6)))
  found = results(partial(convolve, geometry=geometry), x, kernel)
  assert_close(found, results(partial(convolve_by_xla, geometry=geometry), x, kernel))


def native_names(function, *arguments):
  return "cnnlab_conv" in str(jax.make_jaxpr(function)(*arguments))


def test_transposed_convolution_is_the_gradient_and_native():
  x, kernel, geometry = problem(KINDS["strided"])
  y = convolve(x, kernel, geometry)
  transposed = partial(convolve_transposed, geometry=geometry)
  assert native_names(transposed, y, kernel)
  _, pull = jax.vjp(lambda x: convolve_by_xla(x, kernel, geometry), x)
  assert_close(transposed(y, kernel), pull(y)[0])


@pytest.mark.parametrize("kind", ["3x3", "strided", "grouped"])
def test_forward_mode_and_second_derivatives(kind):
  x, kernel, geometry = problem(KINDS[kind])

  def hessian_product(function, x, kernel):
    def loss(x, kernel):
      return jnp.sin(function(x, kernel, geometry)).sum()

    return jax.jvp(jax.grad(loss, (0, 1)), (x, kernel), (x, kernel))

  found = hessian_product(convolve, x, kernel)
  assert_close(found, hessian_product(convolve_by_xla, x, kernel), 2e-4)


def test_vmap_of_examples_stays_native_and_of_kernels_is_xlas():
  x, kernel, geometry = problem(KINDS["3x3"], batch=4)
  by_two = x.reshape(2, 2, *x.shape[1:])
  one_kernel = jax.vmap(lambda x: convolve(x, kernel, geometry))
  assert native_names(one_kernel, by_two)
  assert_close(one_kernel(by_two).reshape(4, 9, 8, 4), convolve_by_xla(x, kernel, geometry))
  kernels = jnp.stack([kernel, 2 * kernel])
  several = jax.vmap(lambda x, k: convolve(x, k, geometry))
  assert not native_names(several, by_two, kernels)
  expected = jax.vmap(lambda x, k: convolve_by_xla(x, k, geometry))(by_two, kernels)
  assert_close(several(by_two, kernels), expected)

  def per_example(function):  # gradients of the kernel for each example
    return jax.vmap(jax.grad(lambda k, x: jnp.sin(function(x[None], k, geometry)).sum()), (None, 0))

  assert_close(per_example(convolve)(kernel, x), per_example(convolve_by_xla)(kernel, x))


def test_checkpoint_and_eval_shape_and_shard_map():
  x, kernel, geometry = problem(KINDS["3x3"])
  function = partial(convolve, geometry=geometry)
  expected = results(partial(convolve_by_xla, geometry=geometry), x, kernel)
  assert_close(results(jax.checkpoint(function), x, kernel), expected)
  assert jax.eval_shape(function, x, kernel).shape == expected[0].shape
  split, whole = PartitionSpec("data"), PartitionSpec()
  mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
  for tracked in (False, True):  # whether JAX tracks what varies between devices
    mapped = jax.shard_map(
      function, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=tracked
    )
    assert native_names(mapped, x, kernel) != tracked
    assert_close(results(mapped, x, kernel), expected)


def test_what_onednn_does_not_have_is_xlas():
  x, kernel, geometry = problem(KINDS["3x3"])
  function = partial(convolve, geometry=geometry)
  assert native_names(function, x, kernel)
  assert not native_names(function, x[:0], kernel)
  assert not native_names(function, x.astype(jnp.float16), kernel.astype(jnp.float16))
  with native.disabled():
    assert not native_names(lambda x, kernel: function(x, kernel), x, kernel)
  for padding in (((-1, 1), (1, 1)), ((0, -2), (1, 1))):
    x, kernel, geometry = problem(KINDS["3x3"][:6] + (padding,) + KINDS["3x3"][7:])
    assert not native_names(partial(convolve, geometry=geometry), x, kernel)


def test_repeats_bit_for_bit_on_many_threads():
  x, kernel, geometry = problem(KINDS["3x3"], batch=8)
  function = jax.jit(jax.grad(lambda k, x: jnp.sin(convolve(x, k, geometry)).sum()))
  expected, found = np.asarray(function(kernel, x)), []

  def work():
    found.extend(np.asarray(function(kernel, x)) for _ in range(20))

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 80
  assert all(np.array_equal(value, expected) for value in found)
