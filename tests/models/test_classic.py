import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.models.classic import (
  Pool,
  conv_pool,
  fully_connected,
  pool_unless_strided,
)
from cnnlab.nn import Conv, make_layers


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [14, 17])
@pytest.mark.parametrize(
  ("window", "stride", "padding", "pooling"),
  [(5, 4, 2, 3), (3, 1, 1, 2), (5, 1, 0, 2), (7, 2, 1, 3)],
)
def test_a_stride_takes_the_convolution_at_the_centres_of_the_windows(
  size, window, stride, padding, pooling, fit
):
  x = jax.random.normal(jax.random.key(0), (1, size, size + 1, 2))
  kernel = jax.random.normal(jax.random.key(1), (window, window, 2, 3))
  params = {"params": {"kernel": kernel, "bias": jnp.arange(3.0)}}

  def conv(**options):
    return lambda x: Conv(3, fit="crop", **options).apply(params, x)

  full = conv(kernel_size=window, stride=stride, padding=padding)(x)
  pooled = pool_unless_strided(full, Pool("max", pooling, 2, fit))
  strided = conv_pool(conv, x, window, stride, padding, Pool("stride", pooling, 2, fit))
  assert strided.shape == pooled.shape
  centre = (pooling - 1) // 2
  expected = full[:, centre::2, centre::2][:, : pooled.shape[1], : pooled.shape[2]]
  np.testing.assert_allclose(strided, expected, atol=1e-4)


@pytest.mark.parametrize("at", ["input", "output"])
def test_the_classifier_drops_where_it_says(at):
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      layers = make_layers("none", train=train)
      return fully_connected(x, layers, 3, (40,), train=train, dropout=0.5, dropout_at=at)

  x = jnp.ones((2, 2, 2, 5))
  variables = Net().init(jax.random.key(0), x, train=False)
  assert set(variables["params"]) == {"fc6", "head"}
  _, feats = Net().apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)})
  _, still = Net().apply(variables, x, train=False)
  if at == "output":
    np.testing.assert_array_equal(feats["fc6"], still["fc6"])
    alive = np.asarray(still["fc6"]) > 0
    ratio = np.asarray(feats["pre_logits"])[alive] / np.asarray(still["fc6"])[alive]
    assert set(np.round(ratio, 3)) == {0.0, 2.0}
  else:
    assert not np.allclose(feats["fc6"], still["fc6"])
    np.testing.assert_array_equal(feats["fc6"], feats["pre_logits"])
