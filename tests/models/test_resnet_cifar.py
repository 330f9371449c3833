import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model
from cnnlab.models.resnet_cifar import SIZES
from cnnlab.nn import count_parameters, multiply_adds

IMAGE = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
# arXiv:1512.03385, table 6: millions of parameters; exact ones by its section 4.2: 3x3
# convolutions without bias, two batch norm weights a channel, a classifier of 64 * 10 + 10.
PUBLISHED = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}


def traced(name, x=IMAGE, **options):
  net = create_model(name, **options)

  def run(x):
    (out, feats), variables = net.init_with_output(jax.random.key(0), x, train=False)
    return out, feats, variables

  return jax.eval_shape(run, x)


def by_hand(layers):
  n = (layers - 2) // 6
  convolutions = 3 * 9 * 16
  norms = 2 * 16
  inputs = 16
  for features in (16, 32, 64):
    for _ in range(n):
      convolutions += 9 * inputs * features + 9 * features * features
      norms += 4 * features
      inputs = features
  return convolutions + norms + 64 * 10 + 10


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110, 1202])
def test_parameter_counts(layers):
  # A block's parameters do not depend on the image, and a small one traces no slower.
  _, _, variables = traced(f"resnet{layers}")
  count = count_parameters(variables["params"])
  assert count == by_hand(layers)
  digits = 2 if layers < 110 else 1
  assert round(count / 1e6, digits) == PUBLISHED[layers]
  assert SIZES[f"plain{layers}"] == {**SIZES[f"resnet{layers}"], "residual": False}


def test_exact_counts_known_from_elsewhere():
  counts = {
    name: count_parameters(traced(name, **options)[2]["params"])
    for name, options in [("resnet20", {}), ("resnet56", {}), ("plain20", {})]
  }
  assert counts == {"resnet20": 269_722, "resnet56": 853_018, "plain20": 269_722}
  # 272,474 is the count of option B, as in Keras' example: two 1x1 projections with batch norm.
  option_b = count_parameters(traced("resnet20", shortcut="B")[2]["params"])
  assert option_b == 269_722 + 16 * 32 + 64 + 32 * 64 + 128 == 272_474


def test_multiply_adds():
  net = create_model("resnet20")
  variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), IMAGE)
  counted = multiply_adds(lambda v, x: net.apply(v, x, train=False), variables, IMAGE)
  stages = [(16, 32), (32, 16), (64, 8)]
  expected, inputs = 9 * 3 * 16 * 1024 + 640, 16
  for features, size in stages:
    expected += size**2 * 9 * (inputs * features + 5 * features**2)
    inputs = features
  assert counted == expected == 40_551_040


def test_stages_and_names():
  out, feats, variables = traced("resnet20")
  assert out.shape == (1, 10)
  assert out.dtype == jnp.float32
  assert {name: feat.shape[1:] for name, feat in feats.items()} == {
    "stem": (32, 32, 16),
    "stage1": (32, 32, 16),
    "stage2": (16, 16, 32),
    "stage3": (8, 8, 64),
    "pre_logits": (64,),
  }
  blocks = [f"stage{stage}_block{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]
  assert set(variables["params"]) == {"conv1", "norm1", *blocks, "head"}
  assert set(variables["params"]["stage2_block1"]) == {"conv1", "norm1", "conv2", "norm2"}


def run(name, x, train=False, seed=0, **options):
  net = create_model(name, **options)
  variables = net.init(jax.random.key(0), x, train=False)
  rngs = {"dropout": jax.random.key(seed)}
  out = net.apply(variables, x, train=train, rngs=rngs, mutable=["batch_stats"] if train else False)
  return (out[0] if train else out), variables


TINY = jax.random.normal(jax.random.key(5), (2, 8, 8, 3))
SMALL = {"width": 0.25, "blocks": 1}


def test_shortcut_a_subsamples_and_adds_zero_channels():
  net = create_model("resnet20", **SMALL)
  variables = net.init(jax.random.key(0), TINY, train=False)
  stem = net.apply(variables, TINY, train=False)[1]["stem"]
  muted = jax.tree.map(lambda leaf: leaf, variables)
  for name, block in muted["params"].items():
    if "block" in name:
      block["norm2"] = jax.tree.map(jnp.zeros_like, block["norm2"])
  feats = net.apply(muted, TINY, train=False)[1]
  # With silent branches only the shortcuts remain (and their activation, of maps >= 0).
  np.testing.assert_array_equal(feats["stage1"], stem)
  np.testing.assert_array_equal(feats["stage2"][..., :4], stem[:, ::2, ::2])
  np.testing.assert_array_equal(feats["stage3"][..., :4], stem[:, ::4, ::4])
  assert not feats["stage3"][..., 4:].any()


def test_a_plain_net_has_no_shortcuts():
  (residual, _), variables = run("resnet20", TINY, **SMALL)
  net = create_model("plain20", **SMALL)
  plain, feats = net.apply(variables, TINY, train=False)
  assert not np.allclose(plain, residual)
  for block in ("stage1_block1", "stage2_block1"):
    variables["params"][block]["norm2"] = jax.tree.map(
      jnp.zeros_like, variables["params"][block]["norm2"]
    )
  feats = net.apply(variables, TINY, train=False)[1]
  assert not feats["stage2"].any()


@pytest.mark.parametrize(
  ("shortcut", "projected"), [("A", []), ("B", ["2_block1", "3_block1"]), ("C", None)]
)
def test_projections(shortcut, projected):
  params = traced("resnet20", shortcut=shortcut)[2]["params"]
  found = [name.removeprefix("stage") for name in params if "shortcut_conv" in params[name]]
  blocks = [name.removeprefix("stage") for name in params if "block" in name]
  assert found == (blocks if projected is None else projected)


def test_preactivation_order():
  """arXiv:1603.05027: the sum is not activated; the last norm follows the last block."""
  (_, feats), variables = run("resnet20", TINY, preact=True, shortcut="B", **SMALL)
  params = variables["params"]
  assert "norm1" not in params
  assert "norm_last" in params
  assert set(params["stage1_block1"]) == {"norm1", "conv1", "norm2", "conv2"}
  assert "shortcut_norm" not in params["stage2_block1"]
  assert float(feats["stage3"].min()) < 0
  # The first block activates before its paths split, so its shortcut is not negative.
  muted = jax.tree.map(lambda leaf: leaf, variables)
  muted["params"]["stage1_block1"]["conv2"] = {"kernel": jnp.zeros((3, 3, 4, 4))}
  net = create_model("resnet20", preact=True, shortcut="B", **SMALL)
  stage1 = net.apply(muted, TINY, train=False)[1]["stage1"]
  stem = feats["stem"]
  np.testing.assert_allclose(stage1, np.maximum(stem / np.sqrt(1 + 1e-5), 0), atol=1e-5)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_downsampling_by_pooling_keeps_sizes_and_parameters(kind):
  strided, pooled = (
    traced("resnet20", shortcut="B"),
    traced("resnet20", shortcut="B", downsample=kind),
  )
  assert strided == pooled
  assert not np.allclose(
    run("resnet20", TINY, **SMALL)[0][0], run("resnet20", TINY, downsample=kind, **SMALL)[0][0]
  )


@pytest.mark.parametrize(("output_stride", "size"), [(4, 8), (2, 16), (1, 32)])
def test_output_stride_dilates_instead(output_stride, size):
  _, feats, variables = traced("resnet20", output_stride=output_stride)
  assert feats["stage3"].shape == (1, size, size, 64)
  assert variables == traced("resnet20")[2]


def test_dilation_sees_the_same_pixels_at_every_second_position():
  """With dilation for stride, the dense map holds the strided one (DeepLab, arXiv:1606.00915)."""
  (_, strided), variables = run("resnet20", TINY, **SMALL)
  net = create_model("resnet20", output_stride=1, **SMALL)
  dense = net.apply(variables, TINY, train=False)[1]
  np.testing.assert_allclose(dense["stage2"][:, ::2, ::2], strided["stage2"], atol=1e-4)
  np.testing.assert_allclose(dense["stage3"][:, ::4, ::4], strided["stage3"], atol=1e-4)


def test_stochastic_depth_in_training_and_scaled_in_evaluation():
  options = {**SMALL, "survival": 0.5, "survival_schedule": "uniform"}
  (always, _), variables = run("resnet20", TINY, **SMALL)
  net = create_model("resnet20", **options)
  apply = jax.jit(
    lambda seed: net.apply(
      variables, TINY, train=True, rngs={"dropout": jax.random.key(seed)}, mutable=["batch_stats"]
    )[0][0]
  )
  outs = {np.asarray(apply(seed)).round(4).tobytes() for seed in range(12)}
  # Three blocks, each dropped or not: at most eight outputs.
  assert 3 <= len(outs) <= 8
  evaluated = net.apply(variables, TINY, train=False)[0]
  assert not np.allclose(evaluated, always)
  halved = jax.tree.map(lambda leaf: leaf, variables)
  for name, block in halved["params"].items():
    if "block" in name:
      block["norm2"] = jax.tree.map(lambda leaf: leaf / 2, block["norm2"])
  plain = create_model("resnet20", **SMALL).apply(halved, TINY, train=False)[0]
  np.testing.assert_allclose(evaluated, plain, rtol=1e-4, atol=1e-5)


def test_skipping_dropped_blocks_changes_nothing_else():
  options = {**SMALL, "survival": 0.5, "train": True, "seed": 3}
  masked, _ = run("resnet20", TINY, **options)
  skipped, _ = run("resnet20", TINY, survival_skip=True, **options)
  np.testing.assert_allclose(skipped[0], masked[0], atol=1e-5)


def test_what_cannot_be_is_refused():
  with pytest.raises(ConfigError, match="no branches to drop"):
    traced("plain20", survival=0.5)
  with pytest.raises(ConfigError, match="did you mean 'batch'"):
    traced("resnet20", norm="bach")
  with pytest.raises(ShapeError, match="20 layers has a total stride of 4.*3x3"):
    traced("resnet20", jax.ShapeDtypeStruct((1, 3, 3, 3), jnp.float32))


@pytest.mark.parametrize(("padding", "before"), [("after", 0), ("both", 8)])
def test_zero_channels_of_the_shortcut_lie_after_the_map_or_on_both_sides(padding, before):
  net = create_model("resnet20", blocks=1, norm="none", shortcut_padding=padding)
  x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
  variables = net.init(jax.random.key(1), x, train=False)
  # With silent branches, a block is its shortcut.
  silent = jax.tree.map(jnp.zeros_like, variables["params"]["stage2_block1"])
  variables = {"params": {**variables["params"], "stage2_block1": silent}}
  feats = net.apply(variables, x, train=False)[1]
  expected = np.zeros((1, 4, 4, 32), np.float32)
  expected[..., before : before + 16] = feats["stage1"][:, ::2, ::2]
  np.testing.assert_array_equal(feats["stage2"], expected)


def test_padding_without_option_a_is_refused():
  with pytest.raises(ConfigError, match="shortcut_padding: only shortcut 'A'"):
    traced("resnet20", shortcut="B", shortcut_padding="both")
