import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.nn import Conv, WeightNormConv, WeightNormDense, make_layers

from .references import randoms

X = randoms(8, 6, 6, 4) * 3 + 1


def test_kernel_is_g_v_over_its_length():
  layer = WeightNormConv(6, 3, padding=1, stride=2, fit="crop", groups=2)
  params = {
    "kernel": randoms(3, 3, 2, 6),
    "scale": randoms(6, seed=1),
    "bias": randoms(6, seed=2),
  }
  lengths = np.sqrt((params["kernel"].astype(np.float64) ** 2).sum((0, 1, 2)))
  plain = {"kernel": params["kernel"] / lengths * params["scale"], "bias": params["bias"]}
  expected = Conv(6, 3, padding=1, stride=2, fit="crop", groups=2).apply({"params": plain}, X)
  np.testing.assert_allclose(layer.apply({"params": params}, X), expected, rtol=1e-4, atol=1e-4)
  shapes = jax.tree.map(np.shape, layer.init(jax.random.key(0), X)["params"])
  assert shapes == jax.tree.map(np.shape, params)


def test_dense_kernel_is_g_v_over_its_length():
  params = {"kernel": randoms(4, 5), "scale": randoms(5, seed=1), "bias": randoms(5, seed=2)}
  lengths = np.linalg.norm(params["kernel"], axis=0)
  expected = X @ (params["kernel"] / lengths * params["scale"]) + params["bias"]
  y = WeightNormDense(5).apply({"params": params}, X)
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [WeightNormConv(5, 3, padding="valid"), WeightNormDense(5)])
def test_init_on_a_batch_standardizes_each_output(layer):
  y, variables = layer.init_with_output(jax.random.key(0), X)
  axes = tuple(range(y.ndim - 1))
  np.testing.assert_allclose(y.mean(axes), np.zeros(5), atol=1e-4)
  np.testing.assert_allclose(y.std(axes), np.ones(5), rtol=1e-4)
  np.testing.assert_allclose(layer.apply(variables, X), y, atol=1e-4)


def test_init_goes_through_a_net_layer_by_layer():
  """Section 3: after it, every pre-activation has mean 0 and variance 1 over the batch."""
  layers = make_layers("weight", train=False)

  def net(variables=None):
    convs = [layers.conv(8, 3, padding=1, name=name) for name in ("conv1", "conv2")]
    x, params, seen = X, {}, []
    for name, conv in zip(("conv1", "conv2"), convs, strict=True):
      x, params[name] = conv.init_with_output(jax.random.key(len(seen)), x)
      seen.append(x)
      x = layers.act(x)
    return seen

  for activations in net():
    np.testing.assert_allclose(activations.mean((0, 1, 2)), np.zeros(8), atol=1e-3)
    np.testing.assert_allclose(activations.std((0, 1, 2)), np.ones(8), rtol=1e-3)


def test_init_on_zeros_is_the_ordinary_layer():
  zeros = jnp.zeros_like(X)
  variables = WeightNormConv(5, 3).init(jax.random.key(0), zeros)
  plain = Conv(5, 3).init(jax.random.key(0), zeros)
  np.testing.assert_array_equal(variables["params"]["kernel"], plain["params"]["kernel"])
  y, z = WeightNormConv(5, 3).apply(variables, X), Conv(5, 3).apply(plain, X)
  np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-4)


def test_gradient_of_v_is_orthogonal_to_v():
  """Equation 4: the gradient with respect to v is projected away from the weight vector."""
  layer = WeightNormConv(5, 3)
  params = layer.init(jax.random.key(0), X)["params"]
  gradient = jax.grad(lambda p: (layer.apply({"params": p}, X) ** 3).mean())(params)["kernel"]
  along = (gradient * params["kernel"]).sum((0, 1, 2))
  size = jnp.linalg.norm(gradient) * jnp.linalg.norm(params["kernel"])
  assert jnp.abs(gradient).max() > 1e-3
  assert np.abs(along).max() < 1e-5 * size


def test_mean_only_batch_norm_goes_with_weight_norm():
  layers = make_layers("weight_mean_only", train=True)
  conv, norm = layers.conv(5, 3, name="conv"), layers.norm(name="norm", scale_init=None)
  y, variables = conv.init_with_output(jax.random.key(0), X)
  assert set(variables["params"]) == {"kernel", "scale"}
  np.testing.assert_allclose(y.std((0, 1, 2)), np.ones(5), rtol=1e-4)
  z, _ = norm.init_with_output(jax.random.key(0), y)
  np.testing.assert_allclose(z.mean((0, 1, 2)), np.zeros(5), atol=1e-4)


@pytest.mark.parametrize("layer", [WeightNormConv(5, 3), WeightNormDense(5)])
def test_a_zero_kernel_gives_the_bias_and_finite_gradients(layer):
  params = layer.init(jax.random.key(0), X)["params"]
  params = {**params, "kernel": jnp.zeros_like(params["kernel"])}
  y = layer.apply({"params": params}, X)
  np.testing.assert_array_equal(y, jnp.broadcast_to(params["bias"], y.shape))
  gradient = jax.grad(lambda p: (layer.apply({"params": p}, X) ** 2).mean())(params)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
