"""Targets, samples and losses of detectors against loops; images without objects; crowds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from cnnlab.boxes.matching import BOX_HEAD, RETINANET
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import Dense
from cnnlab.tasks.detection_losses import OneStageLoss, TwoStageLoss, sigmoid_focal, smooth_l1
from cnnlab.tasks.detection_targets import sampled, second_stage, targets_of, truth_of
from tests.boxes import naive

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
ANCHORS = naive.boxes(RNG, 60)
CLASSES = 4
BATCH = {
  "boxes": jnp.asarray(np.stack([naive.boxes(RNG, 5) for _ in range(3)])),
  "boxes_valid": jnp.array([[1, 1, 0, 1, 1], [0] * 5, [1, 1, 1, 1, 1]], bool),
  "box_labels": jnp.asarray(RNG.integers(0, CLASSES - 1, (3, 5))),
}
LOGITS = RNG.normal(size=(3, 60, CLASSES)).astype(np.float32)
OFFSETS = RNG.normal(0, 0.3, (3, 60, 4)).astype(np.float32)
DENSE = Dense(
  (LOGITS[:, :50], LOGITS[:, 50:]),
  (OFFSETS[:, :50], OFFSETS[:, 50:]),
  (ANCHORS[:50], ANCHORS[50:]),
)


def matches(image, boxes, foreground, background, low_quality):
  """Returns the class (0: background, -1: neither) and the box of each anchor, by a loop."""
  valid = np.flatnonzero(BATCH["boxes_valid"][image])
  truth = np.asarray(BATCH["boxes"])[image]
  overlaps = np.array([[naive.iou(truth[j], box) for box in boxes] for j in valid])
  overlaps = overlaps.reshape(len(valid), len(boxes))
  found = naive.match(overlaps, foreground, background, low_quality)
  labels = np.asarray(BATCH["box_labels"])[image]
  classes = [labels[valid[i]] + 1 if i >= 0 else 0 if i == -1 else -1 for i in found]
  return np.array(classes), [truth[valid[i]] if i >= 0 else None for i in found]


def offsets(box, anchor, weights=(1, 1, 1, 1)):
  sides, anchor_sides = box[2:] - box[:2], anchor[2:] - anchor[:2]
  moved = ((box[:2] + box[2:]) - (anchor[:2] + anchor[2:])) / 2 / anchor_sides
  return np.array([*moved[::-1], *np.log(sides / anchor_sides)[::-1]]) * weights


def l1(distances, beta):
  each = [d * d / 2 / beta if beta and d < beta else d - beta / 2 for d in np.abs(distances)]
  return sum(each)


def focal(logits, true, gamma, alpha):
  total = 0.0
  for index, x in enumerate(logits):
    p = scipy.special.expit(float(x))
    p, weight = (p, alpha) if index == true else (1 - p, 1 - alpha)
    total -= (weight if alpha else 1.0) * (1 - p) ** gamma * np.log(p)
  return total


@pytest.mark.parametrize(("gamma", "alpha", "beta"), [(2.0, 0.25, 0.0), (0.5, 0.0, 0.2)])
def test_the_loss_of_one_stage_is_that_of_a_loop(gamma, alpha, beta):
  loss = OneStageLoss(gamma, alpha, sample=0, beta=beta, box_weight=0.7)
  expected = 0.0
  for image in range(3):
    classes, boxes = matches(image, ANCHORS, 0.5, 0.4, low_quality=True)
    total = 0.0
    for i, label in enumerate(classes):
      if label >= 0:
        total += focal(LOGITS[image, i], label if label else None, gamma, alpha)
      if label > 0:
        total += 0.7 * l1(OFFSETS[image, i] - offsets(boxes[i], ANCHORS[i]), beta)
    expected += total / max(1, (classes > 0).sum())
  assert float(loss(DENSE, truth_of(BATCH), KEY)) == pytest.approx(expected, rel=1e-5)


def test_a_sample_has_as_many_negatives_as_are_missing():
  targets = targets_of(truth_of(BATCH), jnp.asarray(ANCHORS), RETINANET)
  positive, negative = sampled(KEY, targets, 12, 0.5)
  count = np.minimum(np.asarray(targets.positive).sum(1), 6)
  np.testing.assert_array_equal(positive.sum(1), count)
  np.testing.assert_array_equal(negative.sum(1), 12 - count)
  assert not (positive & ~targets.positive).any()
  assert not (negative & ~targets.negative).any()
  again = sampled(KEY, targets, 12, 0.5)
  np.testing.assert_array_equal(again[1], negative)
  assert (sampled(jax.random.key(1), targets, 12, 0.5)[1] != negative).any()
  # Where all anchors are drawn, the loss is that of all.
  all_of_them = OneStageLoss(0.0, 0.0, 0, 0.1, 1.0)(DENSE, truth_of(BATCH), KEY)
  many = OneStageLoss(0.0, 0.0, 10_000, 0.1, 1.0)(DENSE, truth_of(BATCH), KEY)
  few = OneStageLoss(0.0, 0.0, 12, 0.1, 1.0)(DENSE, truth_of(BATCH), KEY)
  assert float(many) == pytest.approx(float(all_of_them), rel=1e-6)
  assert float(few) < float(all_of_them)


def two_stages(boxes, valid):
  head = np.random.default_rng(1)
  rpn = Dense((LOGITS[..., :1],), (OFFSETS,), (ANCHORS,))
  logits = head.normal(size=(*valid.shape, CLASSES)).astype(np.float32)
  shifts = head.normal(size=(*valid.shape, CLASSES, 4)).astype(np.float32)
  return TwoStage(rpn, boxes, valid, jnp.asarray(logits), jnp.asarray(shifts))


def test_the_loss_of_two_stages_is_that_of_a_loop():
  truth = truth_of(BATCH)
  proposals = jnp.asarray(np.stack([naive.boxes(RNG, 20) for _ in range(3)]))
  boxes, valid = second_stage(truth, 12, 0.25)(proposals, jnp.ones((3, 20), bool), KEY)
  out = two_stages(boxes, valid)
  found = float(TwoStageLoss(10_000, 0.1, 1.5)(out, truth, KEY))
  expected = 0.0
  for image in range(3):
    classes, near = matches(image, ANCHORS, 0.7, 0.3, low_quality=True)
    total = 0.0
    for i, label in enumerate(classes):
      if label >= 0:
        total += focal(LOGITS[image, i, :1], 0 if label else None, 0.0, 0.0)
      if label > 0:
        total += 1.5 * l1(OFFSETS[image, i] - offsets(near[i], ANCHORS[i]), 0.1)
    expected += total / (classes >= 0).sum()
    drawn = np.asarray(boxes[image])
    classes, near = matches(image, drawn, 0.5, 0.5, low_quality=False)
    total = 0.0
    for i in np.flatnonzero(valid[image]):
      logits, label = np.asarray(out.logits[image, i], np.float64), classes[i]
      total += scipy.special.logsumexp(logits) - logits[label]
      if label:
        wanted = offsets(near[i], drawn[i], (10, 10, 5, 5))
        total += 1.5 * l1(np.asarray(out.offsets[image, i, label]) - wanted, 0.1)
    expected += total / int(valid[image].sum())
  assert found == pytest.approx(expected, rel=1e-4)


def test_the_second_stage_sees_true_boxes_and_a_share_of_positives():
  truth = truth_of(BATCH)
  far = jnp.tile(jnp.array([200.0, 200, 210, 210]), (3, 30, 1))
  valid = jnp.arange(30)[None] < jnp.array([30, 30, 2])[:, None]
  boxes, mask = second_stage(truth, 8, 0.25)(far, valid, KEY)
  assert boxes.shape == (3, 8, 4)
  classes = targets_of(truth, boxes, BOX_HEAD).classes
  positives = ((classes > 0) & mask).sum(1)
  assert positives.tolist() == [2, 0, 2], "an empty image has only background"
  assert mask.sum(1).tolist() == [8, 8, 4], "what is no proposal is not drawn"


def test_anchors_within_a_crowd_are_neither():
  crowd = {**BATCH, "box_crowd": jnp.array([[0] * 5, [0] * 5, [1, 0, 0, 0, 0]])}
  anchors = jnp.concatenate(
    [BATCH["boxes"][2], BATCH["boxes"][2] * 0.02 + 0.98 * BATCH["boxes"][2][:, [0, 1, 0, 1]]]
  )
  plain = targets_of(truth_of(BATCH), anchors, RETINANET)
  found = targets_of(truth_of(crowd), anchors, RETINANET)
  assert plain.positive[2, 0]
  assert not (found.positive[2, 0] | found.negative[2, 0])
  assert plain.negative[2, 5]
  assert not (found.positive[2, 5] | found.negative[2, 5])
  np.testing.assert_array_equal(found.classes[0], plain.classes[0])


def test_losses_of_single_values():
  x = jnp.array([-200.0, -1.0, 0.5, 200.0])
  for truth in (0.0, 1.0):
    gradient = jax.grad(lambda x, t=truth: sigmoid_focal(x, jnp.full(4, t), 0.5, 0.25).sum())(x)
    assert np.isfinite(gradient).all()
  np.testing.assert_allclose(
    sigmoid_focal(x, jnp.ones(4), 0.0, 0.0), np.logaddexp(0, -np.asarray(x)), rtol=1e-6
  )
  np.testing.assert_allclose(smooth_l1(jnp.array([-0.05, 0.3]), 0.1), [0.0125, 0.25], rtol=1e-5)
  np.testing.assert_allclose(smooth_l1(jnp.array([-0.05, 0.3]), 0.0), [0.05, 0.3], rtol=1e-6)
