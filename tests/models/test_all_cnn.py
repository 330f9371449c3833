import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab import native
from cnnlab.errors import ShapeError
from cnnlab.models import create_model

# Tables 1 and 2: (window, stride) of the convolutions of each block; P is a pooling.
BLOCKS = {
  "base_a": "5 P", "strided_a": "5/2", "convpool_a": "5 3 P", "all_cnn_a": "5 3/2",
  "base_b": "5 1 P", "strided_b": "5 1/2", "convpool_b": "5 1 3 P", "all_cnn_b": "5 1 3/2",
  "base_c": "3 3 P", "strided_c": "3 3/2", "convpool_c": "3 3 3 P", "all_cnn_c": "3 3 3/2",
}  # fmt: skip


def shapes(name, size=32, **options):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def strides(name):
  """The (window, stride) of every convolution, read off the trace."""
  net = create_model(name)
  x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), x)
  with native.disabled():
    trace = jax.make_jaxpr(lambda v, x: net.apply(v, x, train=False)[0])(variables, x)
  found = []
  for equation in trace.jaxpr.eqns:
    if equation.primitive.name == "conv_general_dilated":
      window = equation.invars[1].aval.shape[0]
      found.append((window, equation.params["window_strides"][0]))
  return found


@pytest.mark.parametrize("name", BLOCKS)
def test_the_twelve_nets_are_those_of_tables_1_and_2(name):
  block = [part.split("/") for part in BLOCKS[name].split() if part != "P"]
  convs = [(int(part[0]), int(part[1]) if part[1:] else 1) for part in block]
  assert strides(name) == [*convs, *convs, (3, 1), (1, 1), (1, 1)]
  (logits, feats), _ = shapes(name)
  assert logits.shape == (1, 10)
  assert [feats[n].shape[1:] for n in ("block1", "block2", "head1", "class_maps")] == [
    (16, 16, 96),
    (8, 8, 192),
    (6, 6, 192),
    (6, 6, 10),
  ]


def test_forms_are_options_of_one_base():
  base = {"downsample": "max", "extra_conv": False}
  forms = {
    "strided": {"downsample": "stride"},
    "convpool": {"extra_conv": True},
    "all_cnn": {"downsample": "conv"},
  }
  for form, change in forms.items():
    assert create_model(f"{form}_c") == create_model("base_c", **{**base, **change})


def test_logits_are_the_average_of_the_class_maps():
  options = {"width": 0.0625, "num_classes": 3}
  net, relu = create_model("base_c", **options), create_model("base_c", final_act=True, **options)
  x = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda leaf: rng.normal(0, 0.3, size=leaf.shape).astype(np.float32),
    jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False)),
  )
  logits, feats = jax.jit(lambda v: net.apply(v, x, train=False))(variables)
  maps = np.asarray(feats["class_maps"])
  np.testing.assert_allclose(logits, maps.mean((1, 2)), rtol=1e-4, atol=1e-5)
  head = variables["params"]["head"]
  linear = np.asarray(feats["pre_logits"]) @ head["kernel"][0, 0] + head["bias"]
  np.testing.assert_allclose(logits, linear, rtol=1e-4, atol=1e-5)
  cut, _ = jax.jit(lambda v: relu.apply(v, x, train=False))(variables)
  np.testing.assert_allclose(cut, np.maximum(maps, 0).mean((1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("option", "stage"), [("dropout_input", "block1"), ("dropout", "head1")])
def test_dropout_lies_on_the_input_and_behind_each_block(option, stage):
  rates = {"dropout_input": 0.0, "dropout": 0.0, option: 0.9}
  net = create_model("base_a", width=0.0625, **rates)
  x = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda leaf: rng.normal(0, 0.3, size=leaf.shape).astype(np.float32),
    jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False)),
  )
  rngs = {"dropout": jax.random.key(1)}
  run = jax.jit(lambda v, train: net.apply(v, x, train=train, rngs=rngs)[1], static_argnums=1)
  dropped, still = run(variables, True), run(variables, False)
  assert not np.allclose(dropped[stage], still[stage])
  assert np.allclose(dropped["block1"], still["block1"]) == (option == "dropout")


def test_a_small_image_is_refused():
  with pytest.raises(ShapeError, match="8x8 pixels is too small, it takes 12x12"):
    shapes("base_c", 8)
