import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model
from cnnlab.nn import local_response_norm

SMALL = {"width": 0.0625, "convs": (1, 1, 1, 1, 2), "head": "avgpool", "num_classes": 3}


def shapes(name="vgg16", size=224, **options):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def filled(net, x):
  """Random weights, without running the initialisation."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False))
  return jax.tree.map(lambda leaf: rng.normal(0, 0.3, size=leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_c", "vgg19_bn"])
@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
def test_maps_have_the_published_sizes(name, downsample):
  (_, feats), _ = shapes(name, downsample=downsample)
  assert [feats[f"stage{i}"].shape[1:] for i in range(1, 6)] == [
    (112, 112, 64),
    (56, 56, 128),
    (28, 28, 256),
    (14, 14, 512),
    (7, 7, 512),
  ]


def test_net_c_has_three_1x1_convolutions():
  params = shapes("vgg16_c")[1]["params"]
  pointwise = {n for n in params if "conv" in n and params[n]["kernel"].shape[:2] == (1, 1)}
  assert pointwise == {"conv3_3", "conv4_3", "conv5_3"}


def test_batch_norm_keeps_the_biases_and_others_with_a_shift_do_not():
  assert set(shapes("vgg16_bn")[1]["params"]["conv1_1"]) == {"kernel", "bias"}
  assert set(shapes("vgg16", norm="frozen_batch")[1]["params"]["conv1_1"]) == {"kernel", "bias"}
  assert set(shapes("vgg16", norm="group")[1]["params"]["conv1_1"]) == {"kernel"}


@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilation_gives_the_published_maps_in_between(downsample, output_stride):
  net = create_model("vgg11", downsample=downsample, **SMALL)
  dense = create_model("vgg11", downsample=downsample, output_stride=output_stride, **SMALL)
  x = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))
  variables = filled(net, x)
  coarse, fine = (
    jax.jit(lambda v, net=net: net.apply(v, x, train=False)[1])(variables) for net in (net, dense)
  )
  for stage in ("stage3", "stage4", "stage5"):
    step = fine[stage].shape[1] // coarse[stage].shape[1]
    np.testing.assert_allclose(fine[stage][:, ::step, ::step], coarse[stage], rtol=1e-3, atol=1e-3)
  assert step == 32 // output_stride


def test_response_norm_of_a_lrn_follows_the_first_activation():
  x = 40 * jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
  options = {**SMALL, "width": 0.25}
  plain, normed = create_model("vgg11", **options), create_model("vgg11_lrn", **options)
  variables = filled(plain, x)
  conv1 = variables["params"]["conv1_1"]
  maps = jax.lax.conv_general_dilated(
    x, conv1["kernel"], (1, 1), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  maps = local_response_norm(jnp.maximum(maps + conv1["bias"], 0))
  expected = np.asarray(maps).reshape(1, 16, 2, 16, 2, 16).max((2, 4))
  run = jax.jit(lambda v: normed.apply(v, x, train=False)[1]["stage1"])
  np.testing.assert_allclose(run(variables), expected, rtol=1e-3, atol=1e-3)


def test_heads():
  (_, feats), variables = shapes(head="avgpool")
  assert feats["pre_logits"].shape == (1, 512)
  assert variables["params"]["head"]["kernel"].shape == (512, 1000)
  assert "fc6" not in variables["params"]
  assert shapes(size=32)[1]["params"]["fc6"]["kernel"].shape == (7 * 7 * 512, 4096)
  native = shapes(size=32, grid="native")[1]["params"]
  assert native["fc6"]["kernel"].shape == (512, 4096)


def test_what_does_not_fit_is_refused():
  with pytest.raises(ShapeError, match="vgg of 16 layers has a total stride of 32"):
    shapes(size=16)
  with pytest.raises(ConfigError, match="kernel_size=4 must be odd"):
    shapes(kernel_size=4)
