"""RoI align against a loop over its points, and where its rules have edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.boxes import levels_of, roi_align
from tests.boxes import naive

STRIDES = (4, 8, 16, 32)
align = jax.jit(roi_align, static_argnums=(2, 3, 4))
# Outside, inverted, empty, whole, half outside.
STRANGE = [
  [-90, -90, -40, -40], [60, 60, 30, 20], [50, 50, 50, 50], [0, 0, 128, 192], [-30, 150, 40, 250],
]  # fmt: skip


def maps_of(rng, strides, size=(128, 192)):
  return [rng.normal(size=(*(side // s for side in size), 3)).astype(np.float32) for s in strides]


@pytest.mark.parametrize(("strides", "size", "ratio"), [(STRIDES, 7, 2), ((16,), 3, 1)])
def test_it_agrees_with_the_loop(strides, size, ratio):
  rng = np.random.default_rng(0)
  maps = maps_of(rng, strides)
  boxes = np.concatenate([naive.boxes(rng, 12, 128.0), naive.boxes(rng, 4, 1500.0), STRANGE])
  boxes = boxes.astype(np.float32)
  found = align(maps, boxes, strides, size, ratio)
  expected = naive.roi_align(maps, boxes, strides, size, ratio)
  np.testing.assert_allclose(found, expected, atol=1e-4)
  assert np.abs(expected).max() > 0.5
  batch = jax.vmap(lambda m, b: align(m, b, strides, size, ratio))(
    [jnp.stack([m, 2 * m]) for m in maps], jnp.stack([boxes, boxes])
  )
  np.testing.assert_allclose(batch, np.stack([expected, 2 * expected]), atol=2e-4)


def test_a_ramp_gives_the_centers_of_the_bins():
  # The pixel at index i has the value i; on a ramp, bilinear interpolation and means are exact.
  ramp = jnp.broadcast_to(jnp.arange(16.0)[:, None, None], (16, 16, 1))
  found = align([ramp], jnp.array([[8.0, 8, 48, 48]]), (4,), 5)
  np.testing.assert_allclose(found[0, :, 0, 0], 2 + 2 * (np.arange(5) + 0.5), rtol=1e-5)
  # A side below a pixel of the map counts as one.
  found = align([ramp], jnp.array([[8.0, 8, 8, 8]]), (4,), 2)
  np.testing.assert_allclose(found[0, :, 0, 0], [2.25, 2.75], rtol=1e-5)


def test_levels():
  # A root area of 224 pixels is of level 4, from 448 on level 5; below 112 it is level 2.
  sides = np.array([1, 111, 112, 223.9, 224, 447, 448, 5000], np.float32)
  boxes = np.stack([0 * sides, 0 * sides, sides, sides], 1)
  assert levels_of(boxes, STRIDES).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
  assert levels_of(boxes, (16,)).tolist() == [0] * 8
  assert levels_of(jnp.zeros((2, 4)), STRIDES).tolist() == [0, 0]


def test_gradients_reach_the_map_with_the_weights_of_the_mean():
  maps = maps_of(np.random.default_rng(0), STRIDES[:2])
  boxes = jnp.array([[10.0, 10, 60, 70]])
  gradients = jax.grad(lambda m: align(m, boxes, STRIDES[:2]).sum())(maps)
  # Each of 7x7 bins is a mean, so that its weights have the sum 1, in each of 3 channels.
  np.testing.assert_allclose(sum(g.sum() for g in gradients), 7 * 7 * 3, rtol=1e-5)


def test_no_boxes():
  maps = maps_of(np.random.default_rng(0), STRIDES)
  assert roi_align(maps, jnp.zeros((0, 4)), STRIDES).shape == (0, 7, 7, 3)
