"""A sliding classifier against the classifier itself on every crop, and on every window."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

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


def test_scores_of_pixels_are_interpolated_from_the_crops_around_them():
  """Without padding in the net, there is a crop of 8 pixels at every second pixel."""
  options = {"padding": "valid", "features": (4,), "hidden": (), "head": "fc"}
  net, variables, sliding, images = prepared("convnet", 8, (11, 14), **options)
  found = jax.jit(sliding.label_scores)(variables, images)
  padded = jnp.pad(images, ((0, 0), (3, 4), (3, 5), (0, 0)))
  corners = itertools.product(range(0, 11, 2), range(0, 15, 2))
  crops = jnp.stack([padded[0, y : y + 8, x : x + 8] for y, x in corners])
  logits = np.asarray(jax.jit(lambda v, x: net.apply(v, x, train=False)[0])(variables, crops))
  # A crop's center lies half a pixel beyond the pixel that it is padded for.
  places = (np.mgrid[:11, :14] - 0.5) / 2
  for label in range(5):
    expected = map_coordinates(logits[:, label].reshape(6, 8), places, order=1, mode="nearest")
    np.testing.assert_allclose(found[0, ..., label], expected, rtol=1e-3, atol=1e-4)


def test_a_classifier_of_digits_labels_the_pixels_of_a_page():
  """Trained on scikit-learn's digits, it has the right label at the centers of four that it knows."""
  digits = load_digits()
  x = jnp.asarray(digits.images[..., None] / 16, jnp.float32)
  net = create_model("convnet", num_classes=10, features=(16, 32), hidden=(), head="fc")
  variables = net.init(RNGS, x[:1], train=False)
  optimizer = optax.adam(0.005)

  @jax.jit
  def step(variables, state, start):
    def loss(variables):
      part = [jax.lax.dynamic_slice_in_dim(a, start, 100) for a in (x, jnp.asarray(digits.target))]
      logits = net.apply(variables, part[0], train=False)[0]
      return optax.softmax_cross_entropy_with_integer_labels(logits, part[1]).mean()

    updates, state = optimizer.update(jax.grad(loss)(variables), state)
    return optax.apply_updates(variables, updates), state

  state = optimizer.init(variables)
  for k in range(450):
    variables, state = step(variables, state, k * 100 % 1500)
  right = net.apply(variables, x[1600:], train=False)[0].argmax(-1) == digits.target[1600:]
  assert right.mean() > 0.85
  chosen = 1600 + np.flatnonzero(right)[:4]
  page = np.zeros((1, 24, 24, 1), np.float32)
  for k, index in enumerate(chosen):
    top, left = 1 + 12 * (k // 2), 1 + 12 * (k % 2)  # where crops lie, which are 4 pixels apart
    page[0, top : top + 8, left : left + 8] = x[index]
  labels = slide(net, (8, 8, 1)).label_scores(variables, jnp.asarray(page)).argmax(-1)[0]
  centers = [labels[4 + 12 * (k // 2), 4 + 12 * (k % 2)] for k in range(4)]
  np.testing.assert_array_equal(centers, digits.target[chosen])


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
