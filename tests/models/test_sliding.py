"""A sliding classifier against the classifier itself on every crop, and on every window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model, slide
from cnnlab.nn import Conv, dense_as_conv

SIDE, STRIDE = 18, 4
RNGS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}


def prepared(name, side, size, **options):
  """A net with variables away from their initial values, its sliding form, and larger images."""
  net = create_model(name, num_classes=5, **options)
  variables = jax.jit(lambda x: net.init(RNGS, x, train=False))(jnp.ones((1, side, side, 3)))
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  moved = [
    v + 0.05 * jnp.abs(jax.random.normal(k, v.shape)) for v, k in zip(leaves, keys, strict=True)
  ]
  images = jax.random.normal(jax.random.key(3), (2, *size, 3))
  return net, jax.tree.unflatten(tree, moved), slide(net, (side, side, 3)), images


@pytest.mark.parametrize(
  "options",
  [
    {"hidden": (8, 7)},
    {"hidden": (8,), "downsample": "avg", "norm": "weight"},
    {"hidden": (), "head": "avgpool", "downsample": "stride", "pool_fit": "crop"},
  ],
)
def test_without_padding_the_map_is_what_the_net_gives_on_each_crop(options):
  side = 19 if options.get("downsample") == "stride" else SIDE
  net, variables, sliding, images = prepared(
    "convnet", side, (side + 4, side + 8), padding="valid", features=(4, 6), **options
  )
  found = jax.jit(sliding)(variables, images)
  assert found.shape == (2, 2, 3, 5)
  logits = jax.jit(lambda v, x: net.apply(v, x, train=False)[0])
  for i in range(2):
    for j in range(3):
      top, left = STRIDE * i, STRIDE * j
      crop = images[:, top : top + side, left : left + side]
      np.testing.assert_allclose(found[:, i, j], logits(variables, crop), rtol=1e-4, atol=1e-5)


def test_with_padding_the_head_is_what_it_is_on_each_window_of_the_last_map():
  """A pre-activation net, whose head is a norm, an activation, average pooling and a classifier."""
  options = {"width": 0.25, "blocks": 1, "preact": True, "output_stride": 4}
  net, variables, sliding, images = prepared("resnet20", 8, (16, 8), **options)
  found = jax.jit(sliding)(variables, images)
  assert found.shape == (2, 3, 1, 5)
  apply = jax.jit(lambda v, x: net.apply(v, x, train=False))
  maps = apply(variables, images)[1]["stage3"]
  norm, head = variables["params"]["norm_last"], variables["params"]["head"]
  kept = variables["batch_stats"]["norm_last"]
  normed = (maps - kept["mean"]) / jnp.sqrt(kept["var"] + 1e-5) * norm["scale"] + norm["bias"]
  for i in range(3):
    pooled = jax.nn.relu(normed[:, i : i + 2]).mean((1, 2))
    alone = pooled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(found[:, i, 0], alone, rtol=1e-4, atol=1e-5)
  # Beside an image of a crop's size there is nothing: the net itself.
  own, alone = apply(variables, images[:, :8])[0], jax.jit(sliding)(variables, images[:, :8])
  np.testing.assert_allclose(alone[:, 0, 0], own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "window", "rows"), [("vgg11_bn", 7, 3), ("alexnet", 6, 3), ("resnet18", 7, 3)]
)
def test_published_nets_slide(name, window, rows):
  """CS231n: a 224-pixel net on 384 pixels gives 6x6 class scores; here on 224 + 2 * 32 pixels."""
  net = create_model(name)
  sliding = slide(net, (224, 224, 3))
  image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: net.init(RNGS, x, train=False), image)
  larger = jax.ShapeDtypeStruct((2, 288, 288, 3), jnp.float32)
  assert sliding.window == (window, window)
  found = jax.eval_shape(sliding, variables, larger).shape
  assert found == (2, rows, rows, 1000)


def test_fully_connected_layers_are_convolutions_of_the_last_map():
  _, variables, sliding, images = prepared("convnet", 16, (24, 28), features=(4, 6), hidden=(8,))
  params = variables["params"]

  def conv(x, layer, window):
    kernel = dense_as_conv(layer["kernel"], window)
    weights = {"kernel": kernel, "bias": layer["bias"]}
    return Conv(kernel.shape[3], window).apply({"params": weights}, x)

  maps = create_model("convnet", features=(4, 6), hidden=(), head="avgpool").apply(
    {"params": {**params, "head": {"kernel": jnp.zeros((6, 10)), "bias": jnp.zeros(10)}}},
    images,
    train=False,
  )[1]["block2"]
  hidden = jax.nn.relu(conv(maps, params["hidden1"], (4, 4)))
  found = jax.jit(sliding)(variables, images)
  np.testing.assert_allclose(found, conv(hidden, params["head"], (1, 1)), rtol=1e-4, atol=1e-5)


def test_the_average_is_that_of_probabilities():
  _, variables, sliding, images = prepared("convnet", 16, (20, 24), features=(4, 6))
  average = jax.jit(sliding.average)(variables, images)
  expected = jax.nn.softmax(jax.jit(sliding)(variables, images), axis=-1).mean((1, 2))
  np.testing.assert_allclose(jax.nn.softmax(average), expected, rtol=1e-5)
  np.testing.assert_allclose(np.exp(average), expected, rtol=1e-5)


def test_what_cannot_slide():
  _, variables, sliding, images = prepared("convnet", 16, (16, 12), features=(4, 6))
  with pytest.raises(ShapeError, match="16x16 pixels cannot slide over images of 16x12"):
    sliding(variables, images)
  tiny = {"features": 24, "depth": 1, "heads": 3, "mlp_features": 8}
  net = create_model("vit_b_16", num_classes=5, **tiny)
  with pytest.raises(ConfigError, match="ViT cannot slide: its logits do not follow"):
    slide(net, (32, 32, 3))
  fixed = OfOneSize()
  weights = {"params": {"bias": jnp.zeros((8, 8, 3))}}
  assert slide(fixed, (8, 8, 3))(weights, jnp.zeros((1, 8, 8, 3))).shape == (1, 1, 1, 3)
  with pytest.raises(ConfigError, match="OfOneSize cannot slide: it has parameters that fit one"):
    slide(fixed, (8, 8, 3))(weights, jnp.zeros((1, 9, 9, 3)))


class OfOneSize(nn.Module):
  """A net with a bias for each pixel, so that no larger image fits."""

  @nn.compact
  def __call__(self, x, *, train):
    maps = x + self.param("bias", nn.initializers.zeros, x.shape[1:])
    return maps.mean((1, 2)), {"maps": maps}
