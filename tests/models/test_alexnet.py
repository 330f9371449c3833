import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ShapeError
from cnnlab.models import create_model
from cnnlab.nn import local_response_norm

SMALL = {"width": 0.0625, "stem": "cifar"}


def shapes(name="alexnet", size=224, **options):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
def test_maps_have_the_published_sizes(name, downsample):
  (_, feats), _ = shapes(name, downsample=downsample)
  assert [feats[f"conv{i}"].shape[1] for i in range(1, 6)] == [27, 13, 13, 13, 6]


def test_first_layer_of_2012_has_34944_parameters():
  _, variables = shapes("alexnet_2012")
  conv1 = variables["params"]["conv1"]
  assert sum(leaf.size for leaf in jax.tree.leaves(conv1)) == 34_944
  assert [variables["params"][f"conv{i}"]["kernel"].shape[2] for i in range(1, 6)] == [
    3, 48, 256, 192, 192,
  ]  # fmt: skip


def filled(net, x):
  """Random weights, without running the initialisation."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False))
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def stage(net, variables, x, name):
  return np.asarray(jax.jit(lambda v: net.apply(v, x, train=False)[1][name])(variables))


@pytest.mark.parametrize(("name", "after_pool"), [("alexnet_2012", False), ("zfnet", True)])
def test_response_norm_stands_at_the_papers_place(name, after_pool):
  x = 40 * jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
  options = {**SMALL, "width": 0.25}
  net, bare = create_model(name, **options), create_model(name, norm="none", **options)
  variables = filled(net, x)
  normed = stage(net, variables, x, "conv1")
  pooled = stage(bare, variables, x, "conv1")
  after = local_response_norm(jnp.asarray(pooled))
  if after_pool:
    np.testing.assert_allclose(normed, after, rtol=1e-4)
    return
  # ReLU and norm first, then the maximum.
  conv1 = variables["params"]["conv1"]
  maps = jax.lax.conv_general_dilated(
    x, conv1["kernel"], (1, 1), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  maps = local_response_norm(jnp.maximum(maps + conv1["bias"], 0))
  expected = np.asarray(nn.max_pool(maps, (3, 3), (2, 2)))
  np.testing.assert_allclose(normed, expected, rtol=1e-3, atol=1e-3)
  assert not np.allclose(normed, after, rtol=1e-2)


def test_initial_weights_of_the_paper():
  net, x = create_model("alexnet_2012", **SMALL), jnp.ones((1, 32, 32, 3))
  params = jax.jit(lambda: net.init(jax.random.key(0), x, train=False)["params"])()
  ones = {name for name, layer in params.items() if np.all(layer["bias"] == 1)}
  assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
  for layer in params.values():
    if layer["kernel"].size > 1000:
      assert np.std(layer["kernel"]) == pytest.approx(0.01, rel=0.1)


def test_the_two_towers_do_not_meet_in_a_grouped_layer():
  net = create_model("alexnet_2012", norm="none", **SMALL)
  x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
  before, after = filled(net, x), filled(net, x)
  kernel = after["params"]["conv1"]["kernel"]
  kernel[..., kernel.shape[3] // 2 :] *= -3
  for name, meet in (("conv2", False), ("conv3", True)):
    old, new = (stage(net, variables, x, name) for variables in (before, after))
    half = old.shape[3] // 2
    assert np.allclose(old[..., :half], new[..., :half]) != meet
    assert not np.allclose(old[..., half:], new[..., half:])


def test_options():
  (_, feats), variables = shapes(head="avgpool")
  assert feats["pre_logits"].shape == (1, 256)
  assert set(variables["params"]) == {"conv1", "conv2", "conv3", "conv4", "conv5", "head"}
  (_, feats), variables = shapes(size=32, stem="cifar", num_classes=10)
  assert feats["conv5"].shape == (1, 3, 3, 256)
  assert variables["params"]["fc6"]["kernel"].shape == (3 * 3 * 256, 4096)
  # fc6 takes a map of any image larger than the published one as well.
  assert shapes(size=256)[1]["params"]["fc6"]["kernel"].shape == (9216, 4096)
  assert shapes(pool_window=2)[0][1]["conv5"].shape == (1, 6, 6, 256)


def test_a_small_image_is_refused():
  with pytest.raises(ShapeError, match="32x32 pixels is too small.*stem='cifar'"):
    shapes(size=32)
