"""Boxes, scores and classes against what torchvision finds, and the edges: empty, outside, ties."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.models.fpn import Dense
from cnnlab.tasks.detection_decode import Decoding
from cnnlab.weights import from_torchvision
from tests import parity_weights

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def tensors_of(name, scaled):
  """The deterministic weights; last layers are scaled, as they would saturate every score."""
  state = json.loads((FIXTURES / "parity" / f"{name}.json").read_text())["state_dict"]
  tensors = {key: parity_weights.tensor(key, tuple(shape)) for key, shape in state}
  for end, factor in scaled.items():
    (key,) = (key for key in tensors if key.endswith(end))
    tensors[key] = tensors[key] * np.float32(factor)
    bias = -3.0 if name.startswith("retinanet") and "cls_logits" in end else 0.0
    tensors[key.replace("weight", "bias")] = np.full(len(tensors[key]), bias, np.float32)
  return tensors


@pytest.mark.parametrize(
  ("name", "options", "most"),
  [
    ("retinanet_resnet50_fpn", {}, 300),
    ("fasterrcnn_resnet50_fpn", {"proposals": 1000}, 100),
  ],
)
def test_detections_are_torchvision_s(name, options, most):
  found = json.loads((FIXTURES / "detections" / f"{name}.json").read_text())
  model, variables = from_torchvision(name, tensors_of(name, found["scaled"]), **options)
  x = parity_weights.image(2, 128).transpose(0, 2, 3, 1)
  decode = Decoding(most=most)

  def run(variables, x):
    return decode(model.apply(variables, x, train=False)[0], (128, 128))

  ours = jax.device_get(jax.jit(run)(variables, x))
  for i, image in enumerate(found["images"]):
    boxes = np.array(image["boxes"])[:, [1, 0, 3, 2]]
    assert ours.valid[i].sum() == len(boxes)
    np.testing.assert_allclose(ours.scores[i][: len(boxes)], image["scores"], atol=1e-5)
    # Two scores that differ by less than rounding may be in another order.
    near = np.abs(np.subtract.outer(image["scores"], ours.scores[i])) < 1e-5
    near &= np.equal.outer(image["labels"], ours.classes[i])
    near &= np.abs(boxes[:, None] - ours.boxes[i]).max(-1) < 1e-4 * 128
    assert (near.sum(axis=1) == 1).all()
    assert (near.sum(axis=0) == ours.valid[i]).all()


def test_what_cannot_be_kept_is_masked():
  anchors = np.array([[0, 0, 8, 8], [0, 0, 8, 9], [20, 20, 30, 30], [4, 4, 12, 12]], np.float32)

  def found(logits, **settings):
    out = Dense((jnp.asarray(logits)[None],), (jnp.zeros((1, 4, 4)),), (anchors,))
    one = Decoding(**{"most": 6, **settings})(out, (16, 16))
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), one)

  low = np.full((4, 3), -9.0, np.float32)
  assert not found(low).valid.any()  # an image without objects
  # Ties: the first of two equal boxes is kept, for each class by itself.
  both = low.copy()
  both[:2, 1:] = 2.0
  one = found(both)
  assert one.valid.tolist() == [True, True, False, False, False, False]
  assert one.classes[:2].tolist() == [1, 2]
  np.testing.assert_array_equal(one.boxes[:2], [anchors[0], anchors[0]])
  # A box outside of the image is empty, on its border, as torchvision's one-stage detectors have it.
  outside = low.copy()
  outside[2, 1] = 3.0
  np.testing.assert_array_equal(found(outside).boxes[0], [16, 16, 16, 16])
  # The score must be over the threshold; boxes that overlap less are kept.
  four = np.full((4, 3), 0.0, np.float32)
  assert not found(four, score_threshold=0.5).valid.any()
  assert found(four, score_threshold=0.49, most=12).valid.sum() == 9
