"""Fields as modules: constants, gradients, learning, and pydensecrf beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from cnnlab.crf import create_crf, potts
from cnnlab.errors import ConfigError, ShapeError

from .fields import gaussian_pairs, grid_pairs, loops, normalized_pairs

SIZE, CLASSES = (5, 6), 3
FULLY = {
  "appearance": 2.0,
  "position_width": 2.5,
  "color_width": 0.8,
  "smoothness": 1.0,
  "smoothness_width": 1.2,
  "iterations": 3,
}
GRID = {"weight": 0.3, "contrast": 0.9, "color_width": 0.7, "iterations": 3}


def draws(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def examples(batch=2):
  return draws(batch, *SIZE, CLASSES), draws(batch, *SIZE, 3, seed=1)


def test_a_fully_connected_field_has_both_kernels():
  logits, images = examples()
  found = create_crf("fully_connected", cells=0, **FULLY).apply({}, logits, images)
  for image, scores, log_q in zip(images, logits, found, strict=True):
    pairs = 2 * normalized_pairs(gaussian_pairs(image, 2.5, 0.8))
    pairs += normalized_pairs(gaussian_pairs(image, 1.2))
    np.testing.assert_allclose(log_q, loops(scores, pairs, potts(CLASSES), 3), atol=2e-5)


@pytest.mark.parametrize("neighbors", [4, 8])
def test_a_grid_has_its_neighbors(neighbors):
  logits, images = examples(1)
  found = create_crf("grid", neighbors=neighbors, damping=0.2, **GRID).apply({}, logits, images)
  pairs = grid_pairs(images[0], neighbors, 0.3, 0.9, 0.7)
  expected = loops(logits[0], pairs, potts(CLASSES), 3, damping=0.2)
  np.testing.assert_allclose(found[0], expected, atol=2e-5)


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("grid", GRID),
    ("fully_connected", {**FULLY, "cells": 0}),
    ("fully_connected", {**FULLY, "cells": 8}),
  ],
)
def test_gradients_by_finite_differences(name, options):
  logits, images = examples()
  crf = create_crf(name, learned="all", **options)
  params = crf.init(jax.random.key(0), logits, images)["params"]
  assert params.keys() == {*crf.constants, "compatibility"}
  np.testing.assert_allclose(
    crf.apply({"params": params}, logits, images),
    create_crf(name, **options).apply({}, logits, images),
    atol=1e-6,
  )
  away = jax.tree.map(lambda p: p + 0.1 * draws(*p.shape, seed=3), params)

  @jax.jit
  def loss(params, logits, images):
    log_q = crf.apply({"params": params}, logits, images)
    return jnp.mean(jax.nn.logsumexp(3 * log_q, axis=-1)) + jnp.mean(log_q[..., 0])

  inputs = (away, logits, images)
  check_grads(loss, inputs, order=1, modes=("rev",), eps=1e-2, atol=2e-3, rtol=2e-2)


def test_gradient_descent_finds_the_constants_that_made_the_marginals():
  logits, images = examples(4)
  planted = {"appearance": 3.0, "color_width": 1.6}
  target = create_crf("fully_connected", cells=0, **{**FULLY, **planted}).apply({}, logits, images)
  crf = create_crf("fully_connected", cells=0, learned="kernels", **FULLY)
  fixed = crf.init(jax.random.key(0), logits, images)["params"]
  params = {name: fixed[name] for name in planted}
  optimizer = optax.adam(0.05)

  @jax.jit
  def step(params, state):
    def divergence(params):
      found = crf.apply({"params": fixed | params}, logits, images)
      return jnp.sum(jnp.exp(target) * (target - found)) / len(logits)

    gradient = jax.grad(divergence)(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state

  state = optimizer.init(params)
  for _ in range(200):
    params, state = step(params, state)
  found = {name: FULLY[name] * float(jnp.exp(params[name])) for name in planted}
  assert found == pytest.approx(planted, rel=0.02)


def test_wrong_fields_are_refused():
  with pytest.raises(ConfigError, match="'ful_connected'.*did you mean 'fully_connected'"):
    create_crf("ful_connected")
  with pytest.raises(ConfigError, match="'color'.*did you mean 'color_width'"):
    create_crf("grid", color=1.0)
  with pytest.raises(ConfigError, match=r"crf grid\.color_width.*is -1; allowed: float over 0"):
    create_crf("grid", color_width=-1)
  logits, images = examples()
  with pytest.raises(ShapeError, match="differ in size"):
    create_crf("grid").apply({}, logits, images[:, 1:])


def test_marginals_are_near_those_of_pydensecrf():
  """Its lattice is an approximation, and it lets a pixel send to itself; both differ from ours."""
  densecrf = pytest.importorskip("pydensecrf.densecrf")
  rows, columns, classes = 40, 50, 4
  rng = np.random.default_rng(0)
  truth = (np.arange(rows)[:, None] // 14 + np.arange(columns) // 20) % classes
  colors = rng.integers(0, 256, (classes, 3))[truth] + rng.normal(scale=8, size=(rows, columns, 3))
  image = np.ascontiguousarray(colors.clip(0, 255).astype(np.uint8))
  logits = (np.eye(classes)[truth] + rng.normal(size=(rows, columns, classes))).astype(np.float32)
  theirs = densecrf.DenseCRF2D(columns, rows, classes)
  energy = -np.asarray(jax.nn.log_softmax(logits)).reshape(-1, classes).T
  theirs.setUnaryEnergy(np.ascontiguousarray(energy))
  theirs.addPairwiseGaussian(sxy=3, compat=3)
  theirs.addPairwiseBilateral(sxy=20, srgb=13, rgbim=image, compat=10)
  marginals = np.array(theirs.inference(5)).T.reshape(rows, columns, classes)
  crf = create_crf("fully_connected", position_width=20.0, color_width=13.0, iterations=5, cells=0)
  ours = np.exp(crf.apply({}, logits[None], image[None].astype(np.float32)))[0]
  assert np.abs(ours - marginals).mean() < 0.02
  assert (ours.argmax(-1) == marginals.argmax(-1)).mean() > 0.98
  assert (ours.argmax(-1) == truth).mean() > 0.95 > 0.8 > (logits.argmax(-1) == truth).mean()
