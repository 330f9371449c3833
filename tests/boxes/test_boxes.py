"""Anchors, coding, overlap, matching and sampling, against loops and torchvision's documented rules."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.boxes import (
  BACKGROUND,
  BETWEEN,
  Anchors,
  Thresholds,
  areas,
  balanced_sample,
  chosen,
  clip,
  coding,
  decode,
  encode,
  iou,
  large_enough,
  match,
  matching,
)
from cnnlab.errors import ConfigError
from tests.boxes import naive

EMPTY = np.zeros((0, 4), np.float32)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_anchors_have_an_area_a_ratio_and_edges_at_whole_pixels():
  # Of ratio 0.5 and area 128², sides are 90.5 and 181.0; half of them is rounded.
  found = Anchors(((128,),)).at_origin(0)
  assert found.tolist() == [[-45, -91, 45, 91], [-64, -64, 64, 64], [-91, -45, 91, 45]]


def test_anchors_are_ordered_by_row_column_ratio_and_size():
  anchors = Anchors(((32, 64), (100,)), ratios=(1.0, 4.0))
  assert anchors.per_position == (4, 2)
  # 50 / 3 and 70 / 5 pixels are rounded down to strides of 16 and 14.
  fine, coarse = anchors((50, 70), ((3, 5), (1, 1)))
  assert (fine.shape, coarse.shape, fine.dtype) == ((60, 4), (2, 4), np.float32)
  expected = [
    (16 * i - h / 2, 14 * j - w / 2, 16 * i + h / 2, 14 * j + w / 2)
    for i in range(3)
    for j in range(5)
    for ratio in (1, 4)
    for size in (32, 64)
    for h, w in [(size * math.sqrt(ratio), size / math.sqrt(ratio))]
  ]
  np.testing.assert_array_equal(fine, expected)
  assert coarse.tolist() == [[-50, -50, 50, 50], [-100, -25, 100, 25]]


def test_anchors_need_sizes_for_each_map():
  with pytest.raises(ConfigError, match="sizes for 1 maps, but 2 maps"):
    Anchors(((32,),))((64, 64), ((8, 8), (4, 4)))


def test_offsets_are_those_of_the_paper():
  # Centers (50, 60), sides 20 and 40, moved by 2 in y and 4 in x, twice as high and half as wide.
  anchor, box = jnp.array([40.0, 40, 60, 80]), jnp.array([32.0, 54, 72, 74])
  expected = [4 / 40, 2 / 20, math.log(0.5), math.log(2)]
  np.testing.assert_allclose(encode(box, anchor), expected, rtol=1e-5)
  weighted = encode(box, anchor, coding.BOX_HEAD)
  np.testing.assert_allclose(weighted, np.multiply(expected, (10, 10, 5, 5)), rtol=1e-5)


@pytest.mark.parametrize("weights", [coding.ONES, coding.BOX_HEAD])
def test_decoding_inverts_coding(rng, weights):
  boxes, anchors = naive.boxes(rng, 50), naive.boxes(rng, 50)
  back = jax.jit(lambda b, a: decode(encode(b, a, weights), a, weights))(boxes, anchors)
  np.testing.assert_allclose(back, boxes, atol=1e-3)


def test_large_sizes_are_cut_and_padding_gives_numbers():
  anchor = jnp.array([0.0, 0, 16, 16])
  box = decode(jnp.array([0.0, 0, 1000, 1000]), anchor)
  np.testing.assert_allclose(box, [-492, -492, 508, 508], rtol=1e-5)
  assert np.isfinite(encode(jnp.zeros((3, 4)), jnp.zeros((3, 4)))).all()


def test_overlap(rng):
  first, second = naive.boxes(rng, 20), naive.boxes(rng, 30)
  expected = [[naive.iou(a, b) for b in second] for a in first]
  np.testing.assert_allclose(jax.jit(iou)(first, second), expected, rtol=1e-5, atol=1e-7)


def test_overlap_at_the_edges():
  box = jnp.array([[0.0, 0, 10, 10]])
  touching = jnp.array([[10.0, 0, 20, 10], [0, 0, 10, 10], [2, 2, 2, 8], [8, 8, 2, 2]])
  assert iou(box, touching).tolist() == [[0, 1, 0, 0]]
  assert iou(jnp.zeros((1, 4)), jnp.zeros((1, 4))).tolist() == [[0]]
  assert iou(jnp.asarray(EMPTY), box).shape == (0, 1)
  assert areas(touching).tolist() == [100, 100, 0, 0]


def test_boxes_outside_of_the_image_become_empty():
  boxes = jnp.array([[-5.0, -5, 5, 70], [50, 10, 60, 20], [1, 2, 3, 4]])
  clipped = clip(boxes, (40, 60))
  assert clipped.tolist() == [[0, 0, 5, 60], [40, 10, 40, 20], [1, 2, 3, 4]]
  assert large_enough(clipped, 1e-2).tolist() == [True, False, True]
  assert large_enough(clipped, 2.0).tolist() == [True, False, True]
  assert large_enough(clipped, 2.1).tolist() == [True, False, False]


@pytest.mark.parametrize("rules", [matching.RPN, matching.BOX_HEAD, matching.RETINANET])
def test_matching(rng, rules):
  boxes, anchors = naive.boxes(rng, 8), naive.boxes(rng, 300)
  anchors[:20] = boxes[rng.integers(0, 8, 20)] + rng.normal(0, 2, (20, 4))
  anchors[20:24] = anchors[:4]  # equal overlaps
  overlaps = np.asarray(iou(boxes, anchors))
  padded = np.concatenate([overlaps, np.full((3, 300), 0.9, np.float32)])
  found = jax.jit(lambda o, v: match(o, v, rules))(padded, np.arange(11) < 8)
  expected = naive.match(overlaps, *rules)
  assert found.tolist() == expected
  assert len({BACKGROUND, *range(8)} & set(expected)) > 3


def test_matches_of_low_quality_include_ties_and_follow_the_largest_overlap():
  # Box 0 is best at anchors 0 and 1; box 1's best is anchor 1, which box 0 overlaps more.
  overlaps = jnp.array([[0.2, 0.2, 0.0, 0.1], [0.0, 0.15, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]])
  rules = Thresholds(0.5, 0.4, allow_low_quality_matches=True)
  found = match(overlaps, jnp.ones(3, bool), rules)
  assert found.tolist() == [0, 0, BACKGROUND, BACKGROUND]
  # At the thresholds themselves: foreground, neither, background.
  edges = match(jnp.array([[0.5, 0.25, 0.125]]), jnp.ones(1, bool), Thresholds(0.5, 0.25))
  assert edges.tolist() == [0, BETWEEN, BACKGROUND]


def test_an_image_without_boxes_is_background(rng):
  overlaps = iou(jnp.zeros((5, 4)), jnp.asarray(naive.boxes(rng, 9)))
  for rules in (matching.RPN, matching.BOX_HEAD):
    assert match(overlaps, jnp.zeros(5, bool), rules).tolist() == [BACKGROUND] * 9


@pytest.mark.parametrize(
  ("positives", "negatives", "expected"),
  [(100, 100, (16, 48)), (5, 100, (5, 59)), (100, 5, (16, 5)), (0, 100, (0, 64)), (0, 0, (0, 0))],
)
def test_samples_are_balanced(positives, negatives, expected):
  place = np.random.default_rng(1).permutation(250)
  positive, negative = place < positives, (place >= 250 - negatives)
  draw = jax.jit(lambda key: balanced_sample(key, positive, negative, 64, 0.25))
  one, other = draw(jax.random.key(0))
  assert (int(one.sum()), int(other.sum())) == expected
  assert not (one & ~positive).any()
  assert not (other & ~negative).any()
  for mask, again in zip(draw(jax.random.key(0)), (one, other), strict=True):
    np.testing.assert_array_equal(mask, again)


def test_samples_are_uniform():
  positive = jnp.arange(20) < 10
  draw = jax.vmap(lambda key: balanced_sample(key, positive, ~positive, 8, 0.5))
  drawn = sum(mask.mean(0) for mask in draw(jax.random.split(jax.random.key(0), 4000)))
  # 4 of 10: a share has a standard error of 0.008.
  np.testing.assert_allclose(drawn, 0.4, atol=0.03)


def test_indices_of_a_mask():
  indices, valid = chosen(jnp.array([False, True, False, True]), 3)
  assert (indices.tolist(), valid.tolist()) == ([1, 3, 0], [True, True, False])
  indices, valid = chosen(jnp.array([True, True, True]), 2)
  assert (indices.tolist(), valid.tolist()) == ([0, 1], [True, True])
