from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model
from cnnlab.nn import multiply_adds

TINY = {"features": 12, "depth": 1, "heads": 3, "mlp_features": 16, "patch_size": 4}
X = jax.random.normal(jax.random.key(3), (2, 8, 12, 3))


def initial(net, x=X):
  return net.init(jax.random.key(0), x, train=False)


def started(net):
  return jax.jit(partial(initial, net))(X)


def applied(net, variables):
  return jax.jit(lambda v: net.apply(v, X, train=False))(variables)


def test_tokens_and_maps():
  net = create_model("vit_ti_16", num_classes=5, **TINY)
  out, feats = applied(net, started(net))
  assert out.shape == (2, 5)
  assert {name: f.shape for name, f in feats.items()} == {
    "patches": (2, 2, 3, 12),
    "block1": (2, 7, 12),
    "last_map": (2, 2, 3, 12),
    "pre_logits": (2, 12),
  }


def test_attention_against_jax_s_own():
  """The block's first half, written with jax.nn.dot_product_attention."""
  net = create_model("vit_ti_16", **TINY)
  variables = started(net)
  params = variables["params"]
  block = params["block1"]
  muted = {**block, "mlp2": jax.tree.map(jnp.zeros_like, block["mlp2"])}
  feats = applied(net, {"params": {**params, "block1": muted}})[1]
  patches = feats["patches"].reshape(2, 6, 12)
  token = jnp.broadcast_to(params["class_token"], (2, 1, 12))
  x = jnp.concatenate([token, patches], 1) + params["pos_embedding"]
  centred = x - x.mean(-1, keepdims=True)
  y = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
  packed = y @ block["attention_qkv"]["kernel"] + block["attention_qkv"]["bias"]
  query, key, value = (part.reshape(2, 7, 3, 4) for part in jnp.split(packed, 3, axis=-1))
  mixed = jax.nn.dot_product_attention(query, key, value).reshape(2, 7, 12)
  expected = x + mixed @ block["attention_out"]["kernel"] + block["attention_out"]["bias"]
  np.testing.assert_allclose(feats["block1"], expected, atol=1e-5)


def test_mean_pooling_has_no_class_token():
  net = create_model("vit_ti_16", pool="mean", **TINY)
  variables = started(net)
  feats = applied(net, variables)[1]
  assert "class_token" not in variables["params"]
  assert variables["params"]["pos_embedding"].shape == (1, 6, 12)
  np.testing.assert_allclose(feats["pre_logits"], feats["last_map"].mean((1, 2)), atol=1e-6)


def test_multiply_adds_of_torchvision():
  net = create_model("vit_b_16")
  x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: initial(net, x), x)
  counted = multiply_adds(lambda v, x: net.apply(v, x, train=False), variables, x)
  assert counted / 1e9 == pytest.approx(17.564, rel=2e-3)


def test_stochastic_depth_drops_a_branch_of_an_example():
  net = create_model("vit_ti_16", survival=0.5, survival_schedule="uniform", **TINY)
  x = jnp.repeat(X[:1], 32, 0)
  rngs = {"dropout": jax.random.key(1)}
  out = jax.jit(lambda v, x: net.apply(v, x, train=True, rngs=rngs)[0])(started(net), x)
  # Two branches, each dropped or not for each of the 32 equal images: four outputs.
  assert len(np.unique(np.asarray(out).round(5), axis=0)) == 4


@pytest.mark.parametrize(
  ("options", "error", "message"),
  [
    ({"heads": 5}, ConfigError, "heads: 5 do not divide a width of 12"),
    ({"patch_size": 5}, ShapeError, "no integer.*5 and 10"),
    ({"patch_size": 16}, ShapeError, "total stride of 16"),
  ],
)
def test_what_does_not_fit_is_refused(options, error, message):
  with pytest.raises(error, match=message):
    jax.eval_shape(partial(initial, create_model("vit_ti_16", **{**TINY, **options})), X)
