"""Sheets against counts of the variables, the whole trace, optax, XLA and hand-made tables."""

import json

import jax
import jax.numpy as jnp
import optax
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.inspect import describe, optimizer_names, optimizer_slots
from cnnlab.models import create_model
from cnnlab.nn import count_parameters, multiply_adds

NETS = [
  ("resnet20", (32, 32, 3), {"norm": "batch"}),
  ("resnet20", (32, 32, 3), {"norm": "switchable", "shortcut": "C"}),
  ("convnet", (16, 16, 1), {"norm": "weight", "convs_per_block": 2, "downsample": "conv"}),
  ("resnet18", (64, 64, 3), {"norm": "group", "act": "gelu"}),
  ("vgg11_bn", (64, 64, 3), {"width": 0.125}),
]


def rows_of(name, shape, **options):
  return {row.name: row for row in describe(create_model(name, **options), shape).rows}


@pytest.mark.parametrize(("name", "shape", "options"), NETS)
def test_rows_sum_to_the_whole(name, shape, options):
  net = create_model(name, **options)
  found = describe(net, shape)
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  variables = jax.eval_shape(lambda x: net.init(rngs, x, train=False), image)
  assert found.parameters == count_parameters(variables["params"])
  assert found.statistics == count_parameters(variables.get("batch_stats", {}))
  assert found.multiply_adds == multiply_adds(
    lambda v, x: net.apply(v, x, train=False)[0], variables, image
  )
  assert all(row.output for row in found.rows)
  assert found.rows[-1].output == (net.num_classes,)


def test_a_table_made_by_hand():
  """The grammar net on 8x8x1: every number from (W - F + 2P)/S + 1, F·F·C·K + K and so on."""
  rows = describe(
    create_model("convnet", features=(4,), hidden=(5,), num_classes=3), (8, 8, 1)
  ).rows
  floats = 4
  assert [
    (r.name, r.output, r.parameters, r.multiply_adds, r.receptive_field, r.stride, r.kept_bytes)
    for r in rows
  ] == [
    # its ReLU's output, from which the gradient follows
    ("block1_conv1", (8, 8, 4), 9 * 4 + 4, 64 * 9 * 4, (3, 3), (1, 1), 256 * floats),
    # a byte for the place of each maximum, and the first dense layer's input
    ("max_pool", (4, 4, 4), 0, 0, (4, 4), (2, 2), 64 + 64 * floats),
    ("hidden1", (5,), 64 * 5 + 5, 64 * 5, (10, 10), None, 5 * floats),
    ("head", (3,), 5 * 3 + 3, 5 * 3, (10, 10), None, 0),
  ]


def test_gradients_of_activations_are_those_of_two_neighbors():
  """The net above: outputs of 256, 64, 5 and 3 floats."""
  net = create_model("convnet", features=(4,), hidden=(5,), num_classes=3)
  found = describe(net, (8, 8, 1), batch_size=7)
  assert [row.output_bytes for row in found.rows] == [4 * 256, 4 * 64, 4 * 5, 4 * 3]
  assert found.memory()["activation_gradients"] == 7 * 4 * (256 + 64)
  assert found.output_bytes == 7 * 4 * (256 + 64 + 5 + 3)
  assert found.table()["output_bytes"].sum() == found.output_bytes
  half = describe(create_model("resnet20", dtype="bfloat16"), (32, 32, 3))
  assert {row.name: row for row in half.rows}["conv1"].output_bytes == 2 * 32 * 32 * 16


def test_auxiliary_classifiers_have_rows_of_their_own():
  found = describe(create_model("googlenet"), (224, 224, 3))
  rows = {row.name: row for row in found.rows}
  # arXiv:1409.4842, section 5: a 1x1 convolution of 128 filters on 512 channels, and 1,024 units.
  assert rows["aux1/conv1_conv"].parameters == 512 * 128
  assert rows["aux1/conv1_conv"].kind == "Conv"
  assert rows["aux2/fc1"].parameters == 4 * 4 * 128 * 1024 + 1024
  assert not rows["aux1/head"].output  # not run in evaluation
  assert "(the net itself)" not in rows
  assert found.parameters == sum(row.parameters for row in found.rows) == 13_004_888
  assert describe(create_model("googlenet", auxiliary=False), (224, 224, 3)).parameters == 6_624_904


def test_memory_by_source():
  small = describe(create_model("resnet20"), (32, 32, 3), optimizer="adam")
  large = describe(create_model("resnet20"), (32, 32, 3), batch_size=64, optimizer="adam")
  one, many = small.memory(), large.memory()
  assert one["parameters"] == one["gradients"] == 269_722 * 4
  assert one["optimizer"] == 2 * one["parameters"]
  assert one["batch"] == 32 * 32 * 3 * 4
  grows = ("activations", "activation_gradients", "batch")
  for source in one:
    assert many[source] == one[source] * (64 if source in grows else 1)
  assert sum(many.values()) == large.to_json()["total"]["memory_bytes"]["total"]


def test_slots_follow_from_the_optimizer():
  assert {name: optimizer_slots(name) for name in optimizer_names()} == {
    "sgd": 1,
    "sgd without momentum": 0,
    "adam": 2,
    "adamw": 2,
    "rmsprop": 2,
    "rmsprop without momentum": 1,
    "adagrad": 1,
  }


@pytest.mark.parametrize(
  ("options", "arrays"),
  [({}, 2), ({"norm": "none"}, 1), ({"act": "gelu"}, 3), ({"norm": "none", "act": "silu"}, 2)],
)
def test_activations_kept_by_a_layer(options, arrays):
  """What comes into a convolution and into a norm; and what GELU's and SiLU's gradients need."""
  rows = rows_of("resnet20", (32, 32, 3), **{"blocks": 2, **options})
  names = [n for n in rows if n.startswith("stage1_block2")]
  kept = sum(rows[n].kept_bytes for n in names)
  layers = 2  # convolutions of the block, each 32x32x16 floats
  assert kept == layers * arrays * 32 * 32 * 16 * 4


def test_activations_are_what_a_compiled_step_needs_at_least():
  net, batch = create_model("convnet", features=(8, 16), norm="batch"), 32
  found = describe(net, (16, 16, 3), batch_size=batch)
  x = jnp.zeros((batch, 16, 16, 3))
  variables = net.init({"params": jax.random.key(0)}, x, train=False)

  def loss(params, x):
    everything = {**variables, "params": params}
    (out, _), _ = net.apply(everything, x, train=True, mutable=["batch_stats"])
    return optax.softmax_cross_entropy_with_integer_labels(out, jnp.zeros(batch, int)).mean()

  compiled = jax.jit(jax.grad(loss)).lower(variables["params"], x).compile()
  needed = compiled.memory_analysis().temp_size_in_bytes
  memory = found.memory()
  assert memory["activations"] <= needed <= 2.5 * memory["activations"]
  assert needed <= 1.5 * (memory["activations"] + memory["activation_gradients"])


def test_vgg_holds_memory_early_and_parameters_late():
  """CS231n's table of VGG-16: most memory in the early convolutions, most parameters in fc6."""
  found = describe(create_model("vgg16"), (224, 224, 3))
  rows = {row.name: row for row in found.rows}
  assert rows["conv1_1"].output == rows["conv1_2"].output == (224, 224, 64)
  assert rows["conv1_2"].multiply_adds == 224 * 224 * 64 * 9 * 64
  fully_connected = [row for row in found.rows if row.kind == "Dense"]
  assert fully_connected[0].parameters == 102_760_448 + 4096
  assert sum(r.parameters for r in fully_connected) > 0.89 * found.parameters
  kept = [row.kept_bytes for row in found.rows]
  early = sum(r.kept_bytes for r in found.rows if r.name.startswith(("conv1", "conv2")))
  assert early > 0.6 * sum(kept)


def test_table_and_json():
  found = describe(create_model("resnet20"), (32, 32, 3), name="resnet20", batch_size=8)
  table = found.table()
  assert table["parameters"].sum() == found.parameters
  assert table["activations_bytes"].sum() == found.memory()["activations"]
  assert json.loads(json.dumps(found.to_json()))["total"]["multiply_adds"] == found.multiply_adds


def test_what_cannot_be():
  net = create_model("resnet20")
  with pytest.raises(ConfigError, match=r"'adm'.*adam"):
    describe(net, (32, 32, 3), optimizer="adm")
  with pytest.raises(ConfigError, match="batch_size is 0"):
    describe(net, (32, 32, 3), batch_size=0)
  with pytest.raises(ShapeError, match="total stride"):
    describe(net, (2, 2, 3))
  with pytest.raises(ShapeError, match="height, width, channels"):
    describe(net, (32, 32))
