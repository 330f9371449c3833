import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model
from cnnlab.models.googlenet import MODULES, Inception
from cnnlab.nn import count_parameters, make_layers, multiply_adds

RNGS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
SMALL = {"width": 0.125, "stem": "cifar", "modules": ("3a", "4d", "5b"), "num_classes": 4}


def shapes(name="googlenet", size=224, train=False, **options):
  net = create_model(name, **options)

  def run(x):
    variables = net.init(RNGS, x, train=False)
    out = net.apply(variables, x, train=train, rngs=RNGS, mutable=["batch_stats"])[0]
    return out, variables

  return jax.eval_shape(run, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))


def test_modules_have_the_channels_and_weights_of_table_1():
  # Weights by arithmetic from table 1's columns, as the paper's own are not exact.
  weights = {
    "3a": 163_328, "3b": 388_096, "4a": 375_552, "4b": 448_512, "4c": 509_440,
    "4d": 604_672, "4e": 867_328, "5a": 1_042_432, "5b": 1_442_816,
  }  # fmt: skip
  outputs = (256, 480, 512, 512, 512, 528, 832, 832, 1024)
  params = shapes("googlenet_2014")[1]["params"]
  inputs = 192
  for (name, channels), out in zip(MODULES.items(), outputs, strict=True):
    kernels = [layer["kernel"] for layer in params[f"inception{name}"].values()]
    assert sum(kernel.size for kernel in kernels) == weights[name]
    assert {kernel.shape[2] for kernel in kernels} == {inputs, channels[1], channels[3]}
    inputs = channels[0] + channels[2] + channels[4] + channels[5]
    assert inputs == out


@pytest.mark.parametrize(
  ("form", "channels", "operations"),
  # CS231n's example: 28x28x256 into 128 1x1, 192 3x3 and 96 5x5 filters, 854M when naive. The 358M
  # often quoted for the reduced module exceed the sum of its six layers, 271M, by the 3x3 layer's.
  [("naive", 672, 854e6), ("reduced", 480, 784 * (256 * 320 + 9 * 64 * 192 + 25 * 64 * 96))],
)
def test_the_lectures_example_of_what_reductions_save(form, channels, operations):
  module = Inception(make_layers("none", train=False), (128, 64, 192, 64, 96, 64), form)
  x = jax.ShapeDtypeStruct((1, 28, 28, 256), jnp.float32)
  variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), x)
  out = jax.eval_shape(module.apply, variables, x)
  assert out.shape == (1, 28, 28, channels)
  assert multiply_adds(module.apply, variables, x) == pytest.approx(operations, rel=0.001)


def test_naive_modules_pass_their_input_on():
  _, variables = shapes(inception="naive", auxiliary=False)
  for stage, grown in (("3b", 64 + 128 + 32 + 192), ("4a", 416 + 128 + 192 + 96)):
    assert variables["params"][f"inception{stage}"]["branch1_conv"]["kernel"].shape[2] == grown
    assert "branch2_reduce_conv" not in variables["params"][f"inception{stage}"]
  assert count_parameters(variables["params"]) > 3 * 6_624_904


@pytest.mark.parametrize("name", ["googlenet", "googlenet_2014"])
@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
def test_maps_have_the_published_sizes(name, downsample):
  ((_, feats), _), _ = shapes(name, downsample=downsample, train=True), None
  assert [feats[f"stage{i}"].shape[1:] for i in range(1, 6)] == [
    (56, 56, 64),
    (28, 28, 192),
    (14, 14, 480),
    (7, 7, 832),
    (7, 7, 1024),
  ]


def test_auxiliary_classifiers_answer_in_training_only():
  (_, feats), variables = shapes(train=True, num_classes=5)
  assert [logits.shape for logits in feats["auxiliary_logits"]] == [(1, 5), (1, 5)]
  assert {"aux1", "aux2"} <= set(variables["params"])
  assert "auxiliary_logits" not in shapes(train=False)[0][1]
  (_, feats), variables = shapes(train=True, auxiliary=False)
  assert "auxiliary_logits" not in feats
  assert "aux1" not in variables["params"]


def test_response_norm_has_the_papers_two_places():
  x = jnp.ones((1, 64, 64, 3))
  small = {"width": 0.0625, "modules": ("3a", "4b", "5a"), "auxiliary": False}
  net = create_model("googlenet_2014", **small)
  variables = jax.eval_shape(lambda: net.init(RNGS, x, train=False))
  _, seen = jax.eval_shape(
    lambda v: net.apply(v, x, train=False, capture_intermediates=True, mutable="intermediates"),
    variables,
  )
  assert {n for n in seen["intermediates"] if n.startswith("norm")} == {"norm1", "norm2"}
  # The first follows the pooling, the second comes before it.
  assert seen["intermediates"]["norm1"]["__call__"][0].shape[1] == 16
  assert seen["intermediates"]["norm2"]["__call__"][0].shape[1] == 16
  assert set(variables["params"]["conv1_conv"]) == {"kernel", "bias"}


def test_images_are_taken_from_imagenets_statistics_to_minus_one_to_one():
  x = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype(np.float32)
  mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  net = create_model("googlenet", **SMALL)
  turned = create_model("googlenet", transform_input=True, **SMALL)
  rng = np.random.default_rng(1)
  variables = jax.tree.map(
    lambda leaf: rng.uniform(0.1, 1, size=leaf.shape).astype(np.float32),
    jax.eval_shape(lambda: net.init(RNGS, x, train=False)),
  )
  one = jax.jit(lambda v, x: net.apply(v, x, train=False)[1]["stage1"])
  two = jax.jit(lambda v, x: turned.apply(v, x, train=False)[1]["stage1"])
  normalised = ((x - mean) / deviation).astype(np.float32)
  np.testing.assert_allclose(
    two(variables, normalised), one(variables, 2 * x - 1), rtol=1e-4, atol=1e-5
  )


def test_what_does_not_fit_is_refused():
  with pytest.raises(ShapeError, match="32x32 pixels is too small.*stem='cifar'"):
    shapes(size=32)
  with pytest.raises(ConfigError, match="unknown inception module '4f'"):
    shapes(modules=("3a", "4f", "5a"))
  with pytest.raises(ConfigError, match="one at least of 3, 4, 5"):
    shapes(modules=("3a", "5a"))
