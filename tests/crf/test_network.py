"""A network with a field on top: its variables, and which passes the field takes part in."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnlab.crf import create_crf, refined
from cnnlab.models import create_model

UNET = {"num_classes": 4, "features": (2, 3), "norm": "none", "dropout": 0.0}
IMAGES = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)


def test_a_fixed_field_leaves_the_network_and_its_training_as_they_are():
  alone, crf = create_model("unet", **UNET), create_crf("grid")
  both = refined(alone, crf)
  variables = alone.init(jax.random.key(0), IMAGES, train=False)
  own = both.init(jax.random.key(0), IMAGES, train=False)
  jax.tree.map(np.testing.assert_array_equal, own, variables)
  logits, feats = alone.apply(variables, IMAGES, train=True)
  trained = both.apply(variables, IMAGES, train=True)
  np.testing.assert_array_equal(trained[0], logits)
  assert trained[1].keys() == feats.keys()
  evaluated, feats = both.apply(variables, IMAGES, train=False)
  np.testing.assert_array_equal(feats["unary_logits"], logits)
  np.testing.assert_array_equal(evaluated, crf.apply({}, logits, IMAGES))
  assert np.abs(evaluated - jax.nn.log_softmax(logits)).max() > 0.001


def test_a_learned_field_is_trained_with_the_network():
  crf = create_crf("fully_connected", learned="all", cells=0, iterations=2, position_width=3.0)
  both = refined(create_model("unet", **UNET), crf)
  params = both.init(jax.random.key(0), IMAGES, train=True)["params"]
  assert params.keys() > {"encoder", "head", "crf"}

  def loss(params):
    log_q, _ = both.apply({"params": params}, IMAGES, train=True)
    return -jnp.mean(log_q[..., 0])

  gradients = traverse_util.flatten_dict(jax.jit(jax.grad(loss))(params), sep="/")
  assert all(np.abs(gradient).max() > 0 for gradient in gradients.values()), gradients
