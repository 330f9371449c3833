import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.models import create_model
from cnnlab.nn import count_parameters

DIGITS = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)


def shapes(x=DIGITS, **options):
  net = create_model("convnet", **options)

  def run(x):
    (out, feats), variables = net.init_with_output(jax.random.key(0), x, train=False)
    return out, feats, variables

  return jax.eval_shape(run, x)


def test_the_grammar_makes_the_layers_that_it_says():
  out, feats, variables = shapes(features=(4, 6), convs_per_block=2, hidden=(10, 9), num_classes=3)
  names = [
    "block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "hidden1", "hidden2", "head",
  ]  # fmt: skip
  assert set(variables["params"]) == set(names)
  assert out.shape == (2, 3)
  assert [feats[name].shape for name in ("block1", "block2")] == [(2, 4, 4, 4), (2, 2, 2, 6)]
  assert feats["pre_logits"].shape == (2, 9)
  kernels = [variables["params"][name]["kernel"].shape for name in names]
  assert kernels == [
    (3, 3, 1, 4),
    (3, 3, 4, 4),
    (3, 3, 4, 6),
    (3, 3, 6, 6),
    (24, 10),
    (10, 9),
    (9, 3),
  ]


def test_pooling_is_replaced_without_changing_sizes_or_other_parameters():
  variants = {kind: shapes(downsample=kind) for kind in ("max", "avg", "stride", "conv")}
  for out, feats, _ in variants.values():
    assert out.shape == (2, 10)
    assert feats["block1"].shape == (2, 4, 4, 32)
    assert feats["block2"].shape == (2, 2, 2, 64)
  params = {kind: variables["params"] for kind, (_, _, variables) in variants.items()}
  assert params["max"] == params["avg"] == params["stride"]
  # As many layers as the pooled net plus its pooling layers, with as many channels.
  added = {name: params["conv"][name] for name in params["conv"] if name not in params["max"]}
  assert {name: leaf["kernel"].shape for name, leaf in added.items()} == {
    "block1_conv_down": (3, 3, 32, 32),
    "block2_conv_down": (3, 3, 64, 64),
  }
  assert {name: params["conv"][name] for name in params["max"]} == params["max"]


@pytest.mark.parametrize(("downsample", "reduce"), [("max", np.max), ("avg", np.mean)])
def test_forward_pass_by_hand(downsample, reduce):
  net = create_model("convnet", features=(3,), hidden=(), downsample=downsample, head="avgpool")
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
  variables = net.init(jax.random.key(1), x, train=False)
  logits, feats = net.apply(variables, x, train=False)
  params = jax.tree.map(np.asarray, variables["params"])
  padded = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
  maps = np.zeros((2, 4, 4, 3))
  for i in range(4):
    for j in range(4):
      patch = padded[:, i : i + 3, j : j + 3]
      maps[:, i, j] = np.einsum("nabc,abcf->nf", patch, params["block1_conv1"]["kernel"])
  maps = np.maximum(maps, 0)
  pooled = reduce(maps.reshape(2, 2, 2, 2, 2, 3), axis=(2, 4))
  np.testing.assert_allclose(feats["block1"], pooled, atol=1e-5)
  expected = pooled.mean((1, 2)) @ params["head"]["kernel"]
  np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_options():
  assert shapes(padding="valid", features=(4,))[1]["block1"].shape == (2, 3, 3, 4)
  assert shapes(downsample="none")[1]["block2"].shape == (2, 8, 8, 64)
  assert shapes(width=0.5)[1]["pre_logits"].shape == (2, 64)
  _, _, variables = shapes(head="avgpool", hidden=(), norm="batch")
  assert set(variables["params"]["block1_conv1"]) == {"kernel"}
  assert variables["params"]["head"]["kernel"].shape == (64, 10)
  image = jax.ShapeDtypeStruct((1, 7, 7, 1), jnp.float32)
  padded = shapes(image, pool_fit="pad", features=(4,))
  assert (
    padded[1]["block1"].shape
    == shapes(image, downsample="stride", features=(4,))[1]["block1"].shape
  )


def test_dropout_acts_in_training_only():
  net = create_model("convnet", dropout=0.5)
  x = jax.random.normal(jax.random.key(0), DIGITS.shape)
  variables = net.init(jax.random.key(1), x, train=False)
  run = jax.jit(
    lambda seed, train: net.apply(variables, x, train=train, rngs={"dropout": seed})[0],
    static_argnums=1,
  )
  first, second = run(jax.random.key(2), True), run(jax.random.key(3), True)
  assert not np.allclose(first, second)
  np.testing.assert_array_equal(run(jax.random.key(2), False), run(jax.random.key(3), False))


def test_images_that_do_not_fit_are_refused():
  with pytest.raises(ShapeError, match="total stride of 4"):
    shapes(jax.ShapeDtypeStruct((1, 3, 8, 1), jnp.float32))
  with pytest.raises(ShapeError, match="max_pool, height.*6 and 8"):
    shapes(jax.ShapeDtypeStruct((1, 7, 8, 1), jnp.float32))
  with pytest.raises(ShapeError, match="smaller than the window"):
    shapes(jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32), padding="valid", kernel_size=5)


def test_starts_at_kaiming_fan_out():
  net = create_model("convnet", features=(64, 64))
  params = net.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)), train=False)["params"]
  deviation = np.std(params["block2_conv1"]["kernel"])
  assert deviation == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
  assert count_parameters(params) == 640 + 64 * 64 * 9 + 64 + 256 * 128 + 128 + 1290


def test_local_filters_have_a_position_each():
  _, feats, variables = shapes(features=(4, 6), hidden=(), shared=False)
  assert feats["block2"].shape == (2, 2, 2, 6)
  params = variables["params"]
  assert params["block1_conv1"]["kernel"].shape == (8, 8, 3, 3, 1, 4)
  assert params["block2_conv1"]["kernel"].shape == (4, 4, 3, 3, 4, 6)
  shared = shapes(features=(4, 6), hidden=())[2]["params"]
  assert count_parameters(params["block1_conv1"]) == 64 * (9 * 4 + 4)
  assert count_parameters(shared["block1_conv1"]) == 9 * 4 + 4


def test_local_filters_that_are_equal_convolve():
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
  options = {"features": (3, 4), "hidden": ()}
  shared, local = (create_model("convnet", shared=s, **options) for s in (True, False))
  variables = shared.init(jax.random.key(1), x, train=False)
  shapes_of = jax.eval_shape(lambda: local.init(jax.random.key(1), x, train=False))
  spread = jax.tree.map(lambda a, b: jnp.broadcast_to(a, b.shape), variables, shapes_of)
  np.testing.assert_allclose(
    local.apply(spread, x, train=False)[0], shared.apply(variables, x, train=False)[0], atol=1e-5
  )


def test_response_norm_follows_the_activations_of_the_first_two_blocks():
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  options = {"features": (4, 4, 4), "hidden": (), "head": "avgpool"}
  plain, normed = (create_model("convnet", norm=norm, **options) for norm in ("none", "lrn"))
  variables = plain.init(jax.random.key(1), x, train=False)
  _, before = plain.apply(variables, 20 * x, train=False)
  _, after = normed.apply(variables, 20 * x, train=False)
  # With k=2, what is small is divided by 2^0.75, and the pooling commutes with that only roughly.
  ratio = np.asarray(after["block1"]).sum() / np.asarray(before["block1"]).sum()
  assert 0.2 < ratio < 2**-0.75
