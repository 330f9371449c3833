"""FCN's scores against sums that are made by hand from the encoder's maps."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from cnnlab import testing
from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.nn import count_parameters

RESNET = {"width": 0.25, "blocks": 1, "num_classes": 3}


def zoomed(x, size):
  factors = (1, size[0] / x.shape[1], size[1] / x.shape[2], 1)
  return ndimage.zoom(x, factors, order=1, mode="nearest", grid_mode=True)


def scored(x, conv):
  return np.asarray(x) @ np.asarray(conv["kernel"])[0, 0] + np.asarray(conv["bias"])


@pytest.mark.parametrize(("name", "skips"), [("fcn32s", 0), ("fcn16s", 1), ("fcn8s", 2)])
def test_scores_of_maps_are_upsampled_and_summed(name, skips):
  net = create_model(f"{name}_resnet20", upsampling="bilinear", **RESNET)
  shape = (1, 14, 18, 3)
  start = testing.initial(net, shape)
  # The scores of finer maps start at zero; here all parameters count.
  keys = jax.random.split(jax.random.key(1), 100)
  leaves, tree = jax.tree.flatten(start["params"])
  drawn = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=False)]
  variables = {**start, "params": jax.tree.unflatten(tree, drawn)}
  x = jax.random.normal(jax.random.key(2), shape)
  logits, feats = jax.jit(lambda v, x: net.apply(v, x, train=False))(variables, x)
  params = variables["params"]
  expected = scored(feats["stage3"], params["classifier"]["head"])
  for k in range(1, skips + 1):
    finer = feats[f"stage{3 - k}"]
    expected = zoomed(expected, finer.shape[1:3]) + scored(finer, params["head"][f"skip{k}"])
  np.testing.assert_allclose(logits, zoomed(expected, (14, 18)), atol=1e-4)


def test_transposed_convolutions_start_as_bilinear_interpolation():
  shape = (1, 16, 24, 3)
  nets = [
    create_model("fcn8s_resnet20", upsampling=u, **RESNET) for u in ("transposed", "bilinear")
  ]
  learned, fixed = (testing.initial(net, shape) for net in nets)
  assert learned["params"]["head"]["up1"]["kernel"].shape == (4, 4, 3, 3)
  assert "up1" not in fixed["params"]["head"]
  x = jax.random.normal(jax.random.key(2), shape)
  first, second = (
    jax.jit(lambda v, x, net=net: net.apply(v, x, train=False)[0])(variables, x)
    for net, variables in zip(nets, (learned, fixed), strict=True)
  )
  # Beyond the outermost centers of the coarsest map there are zeros for the transposed one.
  inner = (slice(None), slice(4, -4), slice(4, -4))
  np.testing.assert_allclose(first[inner], second[inner], atol=1e-5)
  assert np.abs(second[inner]).max() > 1e-3


def test_more_skips_than_strides_are_refused():
  net = create_model("fcn8s_resnet20", output_stride=2, **RESNET)
  with pytest.raises(ConfigError, match="skips: 2 finer maps are asked for.* has 1"):
    testing.trace(net, (1, 16, 16, 3))


@pytest.mark.parametrize(
  ("name", "size", "millions"),
  # arXiv:1411.4038, table 1
  [("fcn32s_alexnet_2012", 96, 57), ("fcn32s_vgg16", 64, 134), ("fcn32s_googlenet_2014", 64, 6)],
)
def test_published_numbers_of_parameters(name, size, millions):
  params = testing.trace(create_model(name), (1, size, size, 3)).variables["params"]
  assert round(count_parameters(params) / 1e6) == millions


def test_fc6_and_fc7_are_convolutions_with_the_encoder_s_width():
  net = create_model("fcn32s_vgg16", width=0.0625, num_classes=3)
  params = testing.trace(net, (1, 64, 64, 3)).variables["params"]["classifier"]
  shapes = {name: layer["kernel"].shape for name, layer in params.items()}
  assert shapes == {"fc6": (7, 7, 32, 256), "fc7": (1, 1, 256, 256), "head": (1, 1, 256, 3)}
