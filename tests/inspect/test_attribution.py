"""Attributions: closed forms on linear networks, naive loops, and maps that change with the weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.inspect.attribution import (
  class_maps,
  grad_cam,
  gradient,
  guided_backpropagation,
  integrated_gradients,
  occlusion,
  saliency,
)
from cnnlab.inspect.network import Network, logits, map_and_gradient, maps
from cnnlab.models import create_model
from cnnlab.nn.layers import activation

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)
CLASSES = np.array([2, 0, 1])


class Linear(nn.Module):
  """Logits are a matrix times the pixels; with `hidden`, times the activations of a first matrix."""

  hidden: int = 0
  act: str = "relu"

  @nn.compact
  def __call__(self, x, *, train):
    x = x.reshape(len(x), -1)
    if self.hidden:
      x = activation(self.act)(nn.Dense(self.hidden, name="first")(x))
    return nn.Dense(3, name="head")(x), {"pre_logits": x}


class Dense(nn.Module):
  """Logits at each pixel, as for segmentation."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(3)(x), {}


def made(model, seed=0):
  return Network(model, jax.jit(partial(model.init, train=False))(jax.random.key(seed), IMAGES))


@pytest.fixture(scope="module")
def residual():
  return made(create_model("resnet20", blocks=1, width=0.25, num_classes=3))


def weights_of(network):
  """The weights of each image's class in the form of the image."""
  kernel = np.asarray(network.variables["params"]["head"]["kernel"])
  return kernel.T[CLASSES].reshape(IMAGES.shape)


def test_the_gradient_of_a_linear_network_is_its_weights():
  network = made(Linear())
  np.testing.assert_allclose(gradient(network, IMAGES, CLASSES), weights_of(network), atol=1e-6)
  expected = np.abs(weights_of(network)).max(-1)
  np.testing.assert_allclose(saliency(network, IMAGES, CLASSES), expected, atol=1e-6)


def test_integrated_gradients_of_a_linear_network_are_weights_times_differences():
  network, baseline = made(Linear()), 0.5
  found = integrated_gradients(network, IMAGES, CLASSES, baseline=baseline, steps=1)
  np.testing.assert_allclose(found, weights_of(network) * (IMAGES - baseline), atol=1e-5)


def test_integrated_gradients_sum_to_the_difference_of_the_logits(residual):
  found = integrated_gradients(residual, IMAGES, CLASSES, steps=400)
  at = np.arange(3), CLASSES
  ends = [np.asarray(logits(residual, x))[at] for x in (IMAGES, np.zeros_like(IMAGES))]
  np.testing.assert_allclose(found.sum((1, 2, 3)), ends[0] - ends[1], rtol=0.01, atol=2e-3)


def test_guided_backpropagation_follows_its_definition():
  """Against the two matrix products that a network of two layers makes of it."""
  network = made(Linear(hidden=20))
  first, head = (
    jax.tree.map(np.asarray, network.variables["params"][n]) for n in ("first", "head")
  )
  before = IMAGES.reshape(3, -1) @ first["kernel"] + first["bias"]
  upper = head["kernel"].T[CLASSES]
  kept = np.where((before > 0) & (upper > 0), upper, 0)
  expected = (kept @ first["kernel"].T).reshape(IMAGES.shape)
  np.testing.assert_allclose(guided_backpropagation(network, IMAGES, CLASSES), expected, atol=1e-5)
  assert np.abs(expected - gradient(network, IMAGES, CLASSES)).max() > 0.01
  with pytest.raises(ConfigError, match="act='tanh'; allowed: 'relu'"):
    guided_backpropagation(made(Linear(hidden=20, act="tanh")), IMAGES)


def test_occlusion_is_the_fall_of_the_logit_under_each_window(residual):
  window, stride = 3, 2
  found = occlusion(residual, IMAGES, CLASSES, window=window, stride=stride, value=0.25)
  starts = [0, 2, 4, 5]
  forward = jax.jit(lambda x: residual.model.apply(residual.variables, x, train=False)[0])
  whole = forward(IMAGES)
  for image in range(3):
    falls = [[[] for _ in range(8)] for _ in range(8)]
    for top in starts:
      for left in starts:
        covered = IMAGES.copy()
        covered[image, top : top + window, left : left + window] = 0.25
        fall = (whole - forward(covered))[image, CLASSES[image]]
        for y in range(top, top + window):
          for x in range(left, left + window):
            falls[y][x].append(float(fall))
    expected = [[np.mean(pixel) for pixel in row] for row in falls]
    np.testing.assert_allclose(found[image], expected, atol=1e-5)


def test_grad_cam_before_average_pooling_is_the_class_activation_map(residual):
  """There, the weights are those of the classifier over the number of positions (arXiv:1512.04150)."""
  found, slope = map_and_gradient(*residual, jnp.asarray(IMAGES), jnp.asarray(CLASSES), "stage3")
  kernel = np.asarray(residual.variables["params"]["head"]["kernel"])
  weights = kernel.T[CLASSES][:, None, None] / 4
  np.testing.assert_allclose(slope, np.broadcast_to(weights, slope.shape), atol=1e-6)
  heat = np.maximum((np.asarray(found) * weights).sum(-1), 0)
  expected = jax.image.resize(heat, (3, 8, 8), "bilinear")
  np.testing.assert_allclose(grad_cam(residual, IMAGES, CLASSES), expected, atol=1e-6)


def test_the_gradient_of_an_inner_map_is_the_slope_of_the_logit(residual):
  """Against automatic differentiation by a shift that Flax adds to the last block of that stage."""
  found, slope = map_and_gradient(*residual, jnp.asarray(IMAGES), jnp.asarray(CLASSES), "stage2")
  direction = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
  key = "stage2_block1"

  def moved(by):
    """The network with the output of its second stage moved."""

    def intercept(call, args, kwargs, context):
      out = call(*args, **kwargs)
      whole = context.module.name == key and context.method_name == "__call__"
      return out + by * direction if whole else out

    with nn.intercept_methods(intercept):
      out = residual.model.apply(residual.variables, IMAGES, train=False)[0]
    return out[np.arange(3), CLASSES].sum()

  expected = float(jax.jit(jax.grad(moved))(0.0))
  assert float((slope * direction).sum()) == pytest.approx(expected, rel=1e-4)


def test_class_maps_are_what_the_logits_are_means_of(residual):
  """Of All-CNN; those of a segmentation network are its output."""
  images = np.resize(IMAGES, (2, 16, 16, 3))
  model = create_model("all_cnn_c", width=0.05, num_classes=3)
  init = jax.jit(partial(model.init, train=False))
  all_cnn = Network(model, init(jax.random.key(0), images))
  found = class_maps(all_cnn, images)
  assert found.shape == (2, 2, 2, 3)
  np.testing.assert_allclose(found.mean((1, 2)), logits(all_cnn, images), atol=1e-6)
  dense = made(Dense())
  pixel = dense.model.apply(dense.variables, IMAGES[:1, 1:2, 2:3], train=False)[0][0, 0, 0]
  np.testing.assert_allclose(class_maps(dense, IMAGES)[0, 1, 2], pixel, atol=1e-6)
  with pytest.raises(ConfigError, match="has no maps of classes"):
    class_maps(residual, IMAGES)


@pytest.mark.parametrize(
  "method", [saliency, guided_backpropagation, integrated_gradients, occlusion, grad_cam]
)
def test_maps_change_when_weights_do(residual, method):
  """The model randomization test (arXiv:1810.03292, section 3): ranks of pixels do not agree."""
  other = made(residual.model, seed=1)
  one, two = (np.abs(method(network, IMAGES, CLASSES)) for network in (residual, other))
  assert (one.shape[:3], one.dtype) == (IMAGES.shape[:3], np.float32)
  assert one.max() > 0
  ranks = [found.ravel().argsort().argsort() for found in (one, two)]
  assert abs(np.corrcoef(*ranks)[0, 1]) < 0.75


def test_what_cannot_be_explained_is_told(residual):
  assert list(maps(residual, (8, 8, 2))) == ["stem", "stage1", "stage2", "stage3"]
  with pytest.raises(ConfigError, match="did you mean 'stage3'"):
    grad_cam(residual, IMAGES, stage="stage33")
  with pytest.raises(ConfigError, match="from 0 to 2"):
    saliency(residual, IMAGES, [0, 1, 3])
  with pytest.raises(ConfigError, match="1 <= stride <= window"):
    occlusion(residual, IMAGES, window=2, stride=3)
  with pytest.raises(ConfigError, match="is no classifier"):
    saliency(made(Dense()), IMAGES)
