import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.models import create_model
from cnnlab.models.lenet import C3_INPUTS, PartialConv, Subsampling, codes, scaled_tanh
from cnnlab.nn import Conv, WeightNormConv, count_parameters


def shapes(name="lenet5", size=32, **options):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def test_layers_have_the_papers_parameters_and_maps():
  (_, feats), variables = shapes()
  params = variables["params"]
  c3 = {name: leaf for name, leaf in params.items() if name.startswith("c3")}
  layers = {"c1": params["c1"], "s2": params["s2"], "c3": c3, "s4": params["s4"]}
  layers |= {"c5": params["c5"], "f6": params["f6"]}
  assert {name: count_parameters(layer) for name, layer in layers.items()} == {
    "c1": 156,
    "s2": 12,
    "c3": 1516,
    "s4": 32,
    "c5": 48_120,
    "f6": 10_164,
  }
  assert [feats[name].shape[1:] for name in ("s2", "s4", "c5", "f6")] == [
    (14, 14, 6),
    (5, 5, 16),
    (120,),
    (84,),
  ]


def test_table_1_breaks_symmetry_and_treats_all_maps_alike():
  rows = [row for group in C3_INPUTS.values() for row in group]
  assert len(rows) == len(set(rows)) == 16
  assert sum(map(len, rows)) == 60
  assert [sum(i in row for row in rows) for i in range(6)] == [10] * 6


@pytest.mark.parametrize("weight_normed", [False, True])
def test_partial_connections_are_a_grouped_convolution_of_gathered_maps(weight_normed):
  inputs = C3_INPUTS[4]
  x = jax.random.normal(jax.random.key(0), (2, 14, 14, 6))
  gathered = x[..., np.array(inputs).ravel()]
  grouped = WeightNormConv if weight_normed else Conv
  reference = grouped(9, 5, groups=9)
  variables = reference.init(jax.random.key(1), gathered)
  layer = PartialConv(inputs, 5, weight_normed=weight_normed)
  ours = layer.init(jax.random.key(1), x)
  assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, variables)
  np.testing.assert_allclose(
    layer.apply(variables, x), reference.apply(variables, gathered), atol=1e-4
  )


def test_subsampling_by_hand():
  x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
  layer = {"coefficient": jnp.array([1.0, 2.0, 0.5]), "bias": jnp.array([0.0, 1.0, -1.0])}
  summed = x.reshape(2, 2, 2, 3, 2, 3).sum((2, 4))
  expected = summed * np.array([1, 2, 0.5]) + np.array([0, 1, -1])
  np.testing.assert_allclose(Subsampling().apply({"params": layer}, x), expected, atol=1e-5)


def test_the_squashing_function_keeps_one():
  np.testing.assert_allclose(scaled_tanh(jnp.array([-1.0, 0.0, 1.0])), [-1, 0, 1], atol=1e-4)
  assert float(scaled_tanh(jnp.array(100.0))) == pytest.approx(1.7159)


def test_outputs_are_distances_to_fixed_codes():
  net = create_model("lenet5", num_classes=4)
  x = jax.random.normal(jax.random.key(0), (3, 32, 32, 1))
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
  logits, feats = jax.jit(lambda v: net.apply(v, x, train=False))(variables)
  centres = codes(4, 84)
  assert set(np.unique(centres)) == {-1, 1}
  expected = -((np.asarray(feats["f6"])[:, None] - centres) ** 2).sum(-1)
  np.testing.assert_allclose(logits, expected, rtol=1e-5)
  np.testing.assert_array_equal(codes(10, 84)[:4], centres)
  # Codes far apart: 84 bits of which about half differ.
  differing = (codes(10, 84)[:, None] != codes(10, 84)).sum(-1)
  assert differing[~np.eye(10, dtype=bool)].min() > 25


def test_images_of_mnist_are_padded_and_smaller_ones_refused():
  assert shapes(size=28, padding=2)[0][1]["s2"].shape == (1, 14, 14, 6)
  assert shapes(size=48)[0][0].shape == (1, 10)
  with pytest.raises(ShapeError, match="28x28 pixels is too small, it takes 32x32"):
    shapes(size=28)
  for name in ("lenet5", "lenet5_modern"):
    assert shapes(name, downsample="stride")[0][1]["s4"].shape == (1, 5, 5, 16)
