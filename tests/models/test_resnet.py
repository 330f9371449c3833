from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model
from cnnlab.nn import NORMS, multiply_adds

SMALL = {"width": 0.125, "blocks": (1, 1, 1, 1)}


def image(size=64, batch=1):
  return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


def traced(name, x=None, **options):
  net = create_model(name, **options)
  x = image() if x is None else x
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def pixels(size=64):
  return jax.random.normal(jax.random.key(5), (1, size, size, 3))


def initial(net, x):
  return net.init(jax.random.key(0), x, train=False)


def applied(net, variables, x):
  return jax.jit(lambda v, x: net.apply(v, x, train=False))(variables, x)


def test_stages_and_names():
  (out, feats), variables = traced("resnet50", image(224))
  assert out.shape == (1, 1000)
  assert {name: feat.shape[1:] for name, feat in feats.items()} == {
    "conv1": (112, 112, 64),
    "stem": (56, 56, 64),
    "stage1": (56, 56, 256),
    "stage2": (28, 28, 512),
    "stage3": (14, 14, 1024),
    "stage4": (7, 7, 2048),
    "pre_logits": (2048,),
  }
  block = {"conv1", "norm1", "conv2", "norm2", "conv3", "norm3"}
  assert set(variables["params"]["stage2_block2"]) == block
  assert set(variables["params"]["stage2_block1"]) == {*block, "shortcut_conv", "shortcut_norm"}


@pytest.mark.parametrize(
  ("name", "options", "published"),
  [
    # torchvision 0.29.2's figures, which count a multiply-add once.
    ("resnet18", {}, 1.814),
    ("resnet50", {}, 4.089),
    ("resnet152", {}, 11.514),
    ("resnext50_32x4d", {}, 4.230),
    ("wide_resnet101_2", {}, 22.753),
    # arXiv:1512.03385, table 1: 3.8 billion, the stride in a bottleneck's first convolution
    ("resnet50", {"bottleneck_stride": "1x1"}, 3.858),
  ],
)
def test_multiply_adds(name, options, published):
  net = create_model(name, **options)
  x = image(224)
  variables = jax.eval_shape(lambda x: initial(net, x), x)
  counted = multiply_adds(lambda v, x: net.apply(v, x, train=False), variables, x)
  assert counted / 1e9 == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_an_imagenet_stem_refuses_small_images(name):
  with pytest.raises(ShapeError, match="'imagenet' has a total stride of 32.*32x32.*stem='cifar'"):
    traced(name, image(32))
  (_, feats), _ = traced(name, image(32), stem="cifar")
  assert feats["stem"].shape[1:3] == (32, 32)
  with pytest.raises(ShapeError, match="total stride of 8.*4x4"):
    traced(name, image(4), stem="cifar")


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
@pytest.mark.parametrize(
  ("stem", "output_stride", "side"),
  [("imagenet", 32, 2), ("imagenet", 16, 4), ("imagenet", 8, 8), ("imagenet", 4, 16)]
  + [("cifar", 32, 8), ("cifar", 4, 16), ("cifar", 1, 64)],
)
def test_output_stride_keeps_the_map_and_the_parameters(name, stem, output_stride, side):
  (_, feats), variables = traced(name, stem=stem, output_stride=output_stride)
  last = feats["stage4" if name == "resnet50" else "last_map"]
  assert last.shape[1:3] == (side, side)
  assert variables == traced(name, stem=stem)[1]


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_an_output_stride_below_the_stem_s_is_refused(name):
  with pytest.raises(ConfigError, match="output_stride: stem='imagenet' alone has a stride of 4"):
    traced(name, output_stride=2)


def test_dilated_maps_hold_the_strided_ones():
  """DeepLab's rule (arXiv:1606.00915): at every second position the dense map is the strided one."""
  x, options = pixels(), {**SMALL, "bottleneck": True}
  net = create_model("resnet18", **options)
  variables = jax.jit(partial(initial, net))(x)
  strided = applied(net, variables, x)[1]
  dense = applied(create_model("resnet18", output_stride=8, **options), variables, x)[1]
  np.testing.assert_allclose(dense["stage3"][:, ::2, ::2], strided["stage3"], atol=1e-4)
  np.testing.assert_allclose(dense["stage4"][:, ::4, ::4], strided["stage4"], atol=1e-4)


def test_cardinality_is_grouped_and_width_is_per_group():
  # arXiv:1611.05431, figure 1 and table 1: 32 groups of 4 make 128 channels in the first stage.
  first = traced("resnext50_32x4d")[1]["params"]["stage1_block1"]
  assert [first[f"conv{i}"]["kernel"].shape for i in (1, 2, 3)] == [
    (1, 1, 64, 128),
    (3, 3, 4, 128),
    (1, 1, 128, 256),
  ]
  kernel = traced("resnext50_32x4d")[1]["params"]["stage4_block1"]["conv2"]["kernel"]
  assert kernel.shape == (3, 3, 32, 1024)


def test_zero_initialised_branches_leave_the_shortcuts():
  x = pixels()
  net = create_model("resnet18", zero_init_residual=True, shortcut="A", **SMALL)
  feats = applied(net, jax.jit(partial(initial, net))(x), x)[1]
  np.testing.assert_array_equal(feats["stage1"], feats["stem"])
  np.testing.assert_array_equal(feats["stage2"][..., :8], feats["stem"][:, ::2, ::2])


@pytest.mark.parametrize("norm", NORMS)
def test_branches_start_at_zero_with_every_norm_that_learns_a_scale(norm):
  """Independent of the table: a scale parameter of zeros is what makes the branch zero."""
  params = traced("resnet18", norm=norm, **SMALL)[1]["params"]
  learned = "scale" in params["stage1_block1"].get("norm2", {})
  assert NORMS[norm].scale == learned


@pytest.mark.parametrize("kind", ["max", "avg", "stride"])
def test_the_stem_s_pooling_can_be_replaced(kind):
  (out, feats), variables = traced("resnet18", stem_pool=kind, **SMALL)
  (as_published, maps), expected = traced("resnet18", **SMALL)
  del maps["conv1"]
  assert ("conv1" in feats) == (kind != "stride")
  feats.pop("conv1", None)
  assert (out, feats, variables) == (as_published, maps, expected)


def test_preactivation_ends_in_a_norm_and_starts_bare():
  params = traced("resnet50", preact=True)[1]["params"]
  assert "norm1" not in params
  assert "norm_last" in params
  assert params["stage1_block1"]["norm1"]["scale"].shape == (64,)


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("plain18", {"survival": 0.5}, "no branches to drop"),
    ("resnet18", {"cardinality": 2}, "need bottleneck blocks"),
    ("resnet18", {"zero_init_residual": True, "preact": True}, "zero_init_residual"),
    *(
      ("resnet18", {"zero_init_residual": True, "norm": norm}, f"norm '{norm}' learns no scale")
      for norm in ("frozen_batch", "weight", "weight_mean_only", "lrn", "none")
    ),
  ],
)
def test_what_cannot_be_is_refused(name, options, message):
  with pytest.raises(ConfigError, match=message):
    traced(name, **options)


def test_dropout_of_wide_nets_acts_in_training_only():
  x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
  net = create_model("wrn16_1", width=0.25, blocks=1, dropout=0.5)
  variables = jax.jit(partial(initial, net))(x)

  @jax.jit
  def run(key):
    out, _ = net.apply(variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
    return out[0]

  assert not np.allclose(run(jax.random.key(0)), run(jax.random.key(1)))
  assert jnp.isfinite(applied(net, variables, x)[0]).all()  # it asks for no dropout key
