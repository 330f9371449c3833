"""Non-maximum suppression against the greedy loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.boxes import nms
from tests.boxes import naive

COUNT, MOST = 60, 40
suppress = jax.jit(
  jax.vmap(
    lambda boxes, scores, valid, classes, threshold: nms(
      boxes, scores, valid, threshold, MOST, classes
    ),
    in_axes=(0, 0, 0, 0, None),
  )
)


def case(seed):
  rng = np.random.default_rng(seed)
  boxes = naive.boxes(rng, COUNT)
  boxes[30:] = boxes[:30] + rng.normal(0, 4, (30, 4))
  scores = rng.uniform(size=COUNT).astype(np.float32).round(1)  # many are equal
  return boxes, scores, rng.uniform(size=COUNT) < 0.8, rng.integers(0, 3, COUNT)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("one_class", [True, False])
def test_a_batch_agrees_with_the_greedy_loop(threshold, one_class):
  cases = [case(seed) for seed in range(5)]
  boxes, scores, valid, classes = (jnp.stack(arrays) for arrays in zip(*cases, strict=True))
  indices, found = suppress(boxes, scores, valid, classes * (not one_class), threshold)
  for i, (boxes, scores, valid, classes) in enumerate(cases):
    classes = np.zeros(COUNT) if one_class else classes
    places = np.flatnonzero(valid)
    kept = naive.nms(boxes[places], scores[places], threshold, classes[places])
    assert indices[i][found[i]].tolist() == places[kept].tolist()[:MOST]
    assert not indices[i][~found[i]].any()


def test_a_box_that_is_dropped_drops_no_other():
  # Neighbors overlap by a half of their union, boxes two steps apart by a fifth.
  start = jnp.arange(5) * 10.0
  boxes = jnp.stack([start * 0, start, start * 0 + 10, start + 30], axis=1)
  scores, valid = jnp.linspace(1, 0.5, 5), jnp.ones(5, bool)
  indices, found = nms(boxes, scores, valid, 0.4, 5)
  assert indices[found].tolist() == [0, 2, 4]
  # Equal to the threshold is kept.
  indices, found = nms(boxes, scores, valid, 0.5, 5)
  assert indices[found].tolist() == [0, 1, 2, 3, 4]


def test_of_equal_scores_the_first_is_kept():
  boxes = jnp.tile(jnp.array([[0.0, 0, 10, 10]]), (3, 1))
  indices, found = nms(boxes, jnp.full(3, 0.5), jnp.array([False, True, True]), 0.5, 2)
  assert (indices.tolist(), found.tolist()) == ([1, 0], [True, False])


def test_nothing_to_keep():
  boxes = jnp.zeros((4, 4))
  indices, found = nms(boxes, jnp.ones(4), jnp.zeros(4, bool), 0.5, 6)
  assert (indices.tolist(), found.tolist()) == ([0] * 6, [False] * 6)
  # Empty boxes overlap nothing.
  assert nms(boxes, jnp.ones(4), jnp.ones(4, bool), 0.5, 6)[1].sum() == 4
