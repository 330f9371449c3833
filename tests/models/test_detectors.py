"""What holds for the detectors on any encoder, and the pyramid against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab import testing
from cnnlab.boxes import iou
from cnnlab.errors import ConfigError
from cnnlab.models import create_model, list_models, model_options
from cnnlab.models.faster_rcnn import propose
from cnnlab.models.fpn import FPN, Dense, nearest
from cnnlab.models.registry import output_of
from cnnlab.nn import NORMS, make_layers

TINY = {"num_classes": 5, "features": 8, "hidden": 8, "proposals": 6, "train_proposals": 9}
SIZE = (45, 61)
ENCODERS = ("resnet20", "vgg11", "densenet121", "alexnet")


def small(name, **options):
  known = model_options(name)
  tiny = {**TINY, "width": 0.0625, "blocks": 1}
  if isinstance(known.get("blocks", (0, 0))[1], tuple):
    tiny["blocks"] = (1, 1, 1, 1)
  return create_model(name, **{k: v for k, v in tiny.items() if k in known} | options)


def test_detectors_are_listed_and_made_of_any_classifier():
  assert list_models(output="detection") == ["fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn"]
  assert output_of("retinanet_densenet121") == output_of("fasterrcnn_vgg16") == "detection"
  assert create_model("retinanet_resnet50_fpn").encoder.norm == "frozen_batch"
  assert create_model("retinanet_resnet50").encoder.norm == "batch"
  for name in list_models(output="detection"):
    testing.check_options(name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_outputs_have_an_entry_for_each_anchor(encoder, dtype):
  size = (177, 193) if encoder == "alexnet" else SIZE
  for name in ("retinanet", "fasterrcnn"):
    net = small(f"{name}_{encoder}", dtype=dtype)
    traced = testing.trace(net, (2, *size, 3))
    dense, classes, count = traced.out, 5, 9
    if name == "fasterrcnn":
      dense, classes, count = traced.out.rpn, 1, 3
      assert traced.out.boxes.shape == (2, 6, 4)
      assert (traced.out.logits.shape, traced.out.offsets.shape) == ((2, 6, 5), (2, 6, 5, 4))
      assert traced.out.logits.dtype == jnp.float32
    maps = [value for key, value in traced.feats.items() if key.startswith("fpn")]
    assert len(maps) == len(dense.logits) == len(dense.offsets) == len(dense.anchors)
    for i, one in enumerate(maps):
      anchors = count * one.shape[1] * one.shape[2]
      assert dense.logits[i].shape == (2, anchors, classes)
      assert dense.offsets[i].shape == (2, anchors, 4)
      assert dense.anchors[i].shape == (anchors, 4)
      assert dense.logits[i].dtype == dense.offsets[i].dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(traced.variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["retinanet_resnet20", "fasterrcnn_resnet20"])
def test_the_norm_is_the_encoder_s(name, norm):
  testing.check_norm(small(name, norm=norm), norm, (13, 17, 3))


@pytest.mark.parametrize("name", ["retinanet_resnet20", "fasterrcnn_resnet20"])
def test_it_keeps_the_rules_of_models(name):
  net, shape = small(name, width=0.25), (16, 24, 3)
  testing.check_outputs(net, shape, TINY["num_classes"])
  testing.check_gradients(net, shape)
  testing.check_evaluation(net, shape)


@pytest.mark.parametrize("name", ["retinanet_resnet20", "fasterrcnn_resnet20"])
def test_one_map_has_the_anchors_of_the_whole_pyramid(name):
  def anchors(**options):
    found = []

    def run(x):
      net = small(name, levels=2, **options)
      (out, _), _ = net.init_with_output(jax.random.key(0), x, train=False)
      found.extend((out.rpn if name.startswith("faster") else out).anchors)

    jax.eval_shape(run, jnp.zeros((1, 32, 48, 3)))
    return found

  def sides(anchors):
    return set(map(tuple, (anchors[:, 2:] - anchors[:, :2]).tolist()))

  pyramid, one = anchors(), anchors(one_map=4)
  assert len(one) == 1
  assert set.union(*map(sides, pyramid)) == sides(one[0])
  count = 3 * (3 if name.startswith("faster") else 4 * 3)
  assert len(one[0]) == 8 * 12 * count
  with pytest.raises(
    ConfigError, match=r"'model\.one_map' is 3; the encoder has maps of .* 1, 2, 4"
  ):
    anchors(one_map=3)


def test_scores_start_at_the_prior():
  net = small("retinanet_resnet20", width=0.25)
  x = jax.random.normal(jax.random.key(1), (1, 16, 24, 3))
  variables = testing.initial(net, x.shape)
  out, _ = jax.jit(lambda v, x: net.apply(v, x, train=False))(variables, x)
  for logits in out.logits:
    np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.01, rtol=0.1)


@pytest.mark.parametrize("top_down", [True, False])
def test_the_pyramid_adds_upsampled_maps(top_down):
  rng = np.random.default_rng(0)
  sizes = [(7, 9), (4, 5), (2, 3)]
  maps = [
    rng.normal(size=(1, *s, c)).astype(np.float32) for s, c in zip(sizes, (2, 3, 4), strict=True)
  ]
  pyramid = FPN(make_layers(train=False), 5, "subsampled", top_down)
  variables = pyramid.init(jax.random.key(0), maps)
  found = pyramid.apply(variables, maps)
  params = variables["params"]
  assert [m.shape for m in found] == [(1, *s, 5) for s in (*sizes, (1, 2))]
  merged = None
  for i in (3, 2, 1):
    lateral = maps[i - 1] @ np.asarray(params[f"lateral{i}"]["kernel"][0, 0])
    if merged is not None and top_down:
      height, width = lateral.shape[1:3]
      for y, x in np.ndindex(height, width):
        lateral[:, y, x] += merged[:, y // 2, x // 2]
    merged = lateral
    # A 3x3 convolution at an inner and a corner position.
    kernel = np.asarray(params[f"output{i}"]["kernel"])
    padded = np.pad(merged, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for y, x in ((0, 0), (1, 1)):
      window = padded[0, y : y + 3, x : x + 3]
      np.testing.assert_allclose(
        found[i - 1][0, y, x], np.einsum("hwc,hwco->o", window, kernel), atol=1e-5
      )
  np.testing.assert_array_equal(found[3], found[2][:, ::2, ::2])


def test_nearest_follows_the_floor():
  x = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
  assert nearest(x, (6, 1)).ravel().tolist() == [0, 0, 1, 2, 2, 3]
  assert nearest(x, (3, 1)).ravel().tolist() == [0, 1, 2]


def test_proposals_are_the_best_boxes_inside_of_the_image():
  # Two maps; on the first, anchors 0 and 1 overlap, 2 is outside of the image, 3 is worse.
  first = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [20, 20, 30, 45]], np.float32)
  second = first[:1]  # overlaps anchor 0, but of another map
  best = jax.jit(propose, static_argnums=(1, 2))
  logits = (jnp.array([[1.0, 2, 9, 0]])[..., None], jnp.array([[[0.5]]]))
  offsets = (jnp.zeros((1, 4, 4)), jnp.zeros((1, 1, 4)))
  boxes, valid = best(Dense(logits, offsets, (first, second)), (40, 40), 5)
  assert valid.tolist() == [[True, True, True, False, False]]
  expected = [[0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 40], [0] * 4, [0] * 4]
  assert boxes[0].tolist() == expected
  assert iou(boxes[0, :1], boxes[0, 1:2]) > 0.7
  # Only so many of each map, and of all.
  boxes, valid = best(Dense(logits, offsets, (first, second)), (40, 40), 2)
  assert (boxes[0].tolist(), valid.tolist()) == (expected[:2], [[True, True]])
