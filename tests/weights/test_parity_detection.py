"""Detectors against what torchvision computes on the same weights and images."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cnnlab.models import create_model
from cnnlab.nn import count_parameters
from cnnlab.weights import from_torchvision
from tests import parity_weights
from tests.boxes import naive
from tests.weights.test_torchvision import state_dict

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "parity"
BOXES = np.array([[3, 5, 90, 120], [40, 30, 44, 70], [-9, 100, 50, 140]], np.float32)


def read(name):
  found = json.loads((FIXTURES / f"{name}.json").read_text())
  tensors = {n: parity_weights.tensor(n, tuple(shape)) for n, shape in found["state_dict"]}
  given = found["input"]
  x = parity_weights.image(given["batch"], given["size"]).transpose(0, 2, 3, 1)
  return found, tensors, x


def agree(array, expected):
  assert list(array.shape) == expected["shape"]
  largest = np.abs(expected["value"]).max()
  np.testing.assert_allclose(
    np.ravel(array)[expected["index"]], expected["value"], rtol=0, atol=2e-5 * largest
  )


@pytest.mark.parametrize(
  ("name", "published"),
  # What torchvision's `weights.meta` has, which does not count the weights of frozen norms.
  [("retinanet_resnet50_fpn", 34014999), ("fasterrcnn_resnet50_fpn", 41755286)],
)
def test_parameters_are_torchvision_s(name, published):
  for options, expected in (({}, published), ({"norm": "batch"}, read(name)[0]["parameter_count"])):
    net = create_model(name, **options)
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, train=False), x)
    assert count_parameters(shapes["params"]) == expected


def test_retinanet_agrees_with_torchvision():
  found, tensors, x = read("retinanet_resnet50_fpn")
  model, variables = from_torchvision("retinanet_resnet50_fpn", tensors)
  out, feats = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, x)
  for i in range(5):
    agree(feats[f"fpn{i}"].transpose(0, 3, 1, 2), found["outputs"][f"fpn_{i}"])
  agree(np.concatenate(out.logits, 1), found["outputs"]["cls_logits"])
  agree(np.concatenate(out.offsets, 1), found["outputs"]["bbox_regression"])
  # torchvision has 32, 40 and 50 pixels at the stride 8, around the corner of each position.
  assert [len(a) for a in out.anchors] == [9 * side**2 for side in (16, 8, 4, 2, 1)]
  np.testing.assert_array_equal(out.anchors[0][9 + 4], [-20, 8 - 20, 20, 8 + 20])
  np.testing.assert_array_equal(out.anchors[4][3], [-256, -256, 256, 256])


def test_faster_rcnn_agrees_with_torchvision():
  found, tensors, x = read("fasterrcnn_resnet50_fpn")
  model, variables = from_torchvision("fasterrcnn_resnet50_fpn", tensors, proposals=50)

  def run(variables, x):
    def select(proposals, valid, key):
      assert proposals.shape == (*valid.shape, 4) == (2, 50, 4)
      return jnp.stack([BOXES, BOXES]), jnp.ones((2, len(BOXES)), bool)

    return model.apply(variables, x, select, train=False, rngs={"sampling": jax.random.key(0)})

  out, feats = jax.jit(run)(variables, x)
  for i in range(5):
    agree(feats[f"fpn{i}"].transpose(0, 3, 1, 2), found["outputs"][f"fpn_{i}"])
    side = feats[f"fpn{i}"].shape[1]
    objectness = out.rpn.logits[i].reshape(2, side, side, 3).transpose(0, 3, 1, 2)
    agree(objectness, found["outputs"][f"rpn_objectness_{i}"])
    deltas = out.rpn.offsets[i].reshape(2, side, side, 12).transpose(0, 3, 1, 2)
    agree(deltas, found["outputs"][f"rpn_deltas_{i}"])
  np.testing.assert_array_equal(out.rpn.anchors[0][3 + 1], [-16, 4 - 16, 16, 4 + 16])

  # The fixture has no output of the second stage: torchvision's layers, by NumPy.
  maps = [np.asarray(feats[f"fpn{i}"][1]) for i in range(4)]
  hidden = naive.roi_align(maps, BOXES, (4, 8, 16, 32), 7, 2).transpose(0, 3, 1, 2).reshape(3, -1)

  def linear(x, name):
    return x @ tensors[f"roi_heads.{name}.weight"].T + tensors[f"roi_heads.{name}.bias"]

  for layer in ("fc6", "fc7"):
    hidden = np.maximum(linear(hidden, f"box_head.{layer}"), 0)
  for array, layer in ((out.logits, "cls_score"), (out.offsets, "bbox_pred")):
    expected = linear(hidden, f"box_predictor.{layer}").reshape(array[1].shape)
    np.testing.assert_allclose(array[1], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_names_of_older_files_are_read():
  older = {
    "fasterrcnn_resnet50_fpn": [(r"_blocks.2.0.", "_blocks.2."), ("conv.0.0.", "conv.")],
    "retinanet_resnet50_fpn": [
      ("fpn.inner_blocks.0.0.", "fpn.inner_blocks.0."),
      ("classification_head.conv.3.0.", "classification_head.conv.6."),
      ("regression_head.conv.1.0.", "regression_head.conv.2."),
    ],
  }
  for name, changes in older.items():
    tensors = {n: np.zeros(shape, np.float32) for n, shape in read(name)[0]["state_dict"]}
    for new, old in changes:
      assert any(new in key for key in tensors)
      tensors = {key.replace(new, old): array for key, array in tensors.items()}
    from_torchvision(name, tensors, image_size=64)


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn"])
def test_last_layers_are_new_where_the_classes_are(name):
  small = {"width": 0.0625, "blocks": (1, 1, 1, 1), "features": 8, "hidden": 8, "proposals": 4}
  if name.startswith("retinanet"):
    small = {key: small[key] for key in ("width", "blocks", "features")}
  tensors = state_dict(name, num_classes=91, **small)
  _, own = from_torchvision(name, tensors, image_size=64, **small)
  _, same = from_torchvision(name, tensors, num_classes=91, image_size=64, **small)
  _, other = from_torchvision(name, tensors, num_classes=5, image_size=64, **small)
  assert jax.tree.all(jax.tree.map(np.array_equal, own, same))
  equal = jax.tree.map(np.array_equal, own["params"], other["params"])
  changed = {path for path, one in traverse_util.flatten_dict(equal).items() if not one}
  assert changed
  assert all("head" in path for path in changed)
