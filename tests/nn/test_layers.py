import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.nn import ACTIVATIONS, NORMS, activation, make_layers

X = jax.ShapeDtypeStruct((2, 6, 6, 4), jnp.float32)
LEAVES = {
  "batch": {"norm": {"scale", "bias"}, "stats": {"mean", "var"}},
  "frozen_batch": {"norm": set(), "stats": {"mean", "var", "scale", "bias"}},
  "layer": {"norm": {"scale", "bias"}, "stats": set()},
  "instance": {"norm": {"scale", "bias"}, "stats": set()},
  "group": {"norm": {"scale", "bias"}, "stats": set()},
  "switchable": {
    "norm": {"scale", "bias", "mean_weight", "var_weight"},
    "stats": {"mean", "var"},
  },
  "weight": {"norm": set(), "stats": set()},
  "weight_mean_only": {"norm": {"bias"}, "stats": {"mean"}},
  "lrn": {"norm": set(), "stats": set()},
  "none": {"norm": set(), "stats": set()},
}


class Net(nn.Module):
  """A convolution, a norm and a dense layer from the factories."""

  norm: str
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, *, train):
    layers = make_layers(self.norm, "relu", train=train, dtype=self.dtype)
    x = layers.conv(8, 3, padding=1, name="conv")(x)
    x = layers.act(layers.norm(name="norm", scale_init=nn.initializers.ones)(x))
    return layers.dense(5, name="dense")(x.mean((1, 2)))


def test_every_norm_is_in_the_table():
  assert set(LEAVES) == set(NORMS)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_norm_has_its_own_variables_and_no_others(norm, dtype):
  net = Net(norm, dtype)
  y, variables = jax.eval_shape(
    lambda x: net.init_with_output(jax.random.key(0), x, train=False), X
  )
  params, stats = variables["params"], variables.get("batch_stats", {})
  assert set(params.get("norm", {})) == LEAVES[norm]["norm"]
  assert set(stats.get("norm", {})) == LEAVES[norm]["stats"]
  assert set(params["conv"]) == {"kernel"} | (set() if NORMS[norm].shift else {"bias"}) | (
    {"scale"} if norm.startswith("weight") else set()
  )
  assert set(params["dense"]) == {"kernel", "bias"} | (
    {"scale"} if norm.startswith("weight") else set()
  )
  assert y.dtype == jnp.dtype(dtype)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_local_response_norm_in_every_layer_leaves_small_signals_as_they_are():
  layer = make_layers("lrn", train=False).norm(name="norm")
  x = jax.random.normal(jax.random.key(0), X.shape)
  np.testing.assert_allclose(layer.apply({}, x), x, rtol=5e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_only_norms_with_moving_averages_tell_training_from_evaluation(norm):
  x = jax.random.normal(jax.random.key(0), X.shape) * 3 + 1
  net = Net(norm)
  variables = net.init(jax.random.key(1), x, train=False)
  trained, updates = net.apply(variables, x, train=True, mutable=["batch_stats"])
  evaluated = net.apply(variables, x, train=False)
  moves = norm in ("batch", "switchable", "weight_mean_only")
  assert bool(jnp.allclose(trained, evaluated, atol=1e-5)) != moves
  changed = jax.tree.map(
    lambda a, b: bool((a != b).any()),
    updates.get("batch_stats", {}),
    variables.get("batch_stats", {}),
  )
  assert any(jax.tree.leaves(changed)) == moves


def test_momentum_and_epsilon_reach_the_norm():
  x = jnp.ones((2, 3, 3, 1)) * jnp.asarray([0.0, 2.0])[:, None, None, None]
  norm = make_layers("batch", train=True, norm_momentum=0.25, norm_epsilon=3.0).norm(name="norm")
  y, variables = norm.init_with_output(jax.random.key(0), x)
  np.testing.assert_allclose(np.unique(y), [-0.5, 0.5])
  _, updates = norm.apply(variables, x, mutable=["batch_stats"])
  np.testing.assert_allclose(updates["batch_stats"]["mean"], [0.75])


def test_factories_crop_as_pytorch_does_and_can_be_told_otherwise():
  layers = make_layers(train=False)
  x = jnp.ones((1, 8, 8, 2))
  shape = layers.conv(3, 3, stride=2, padding=1, name="conv").init_with_output(
    jax.random.key(0), x
  )[0]
  assert shape.shape == (1, 4, 4, 3)
  with pytest.raises(ValueError, match="no integer"):
    layers.conv(3, 3, stride=2, padding=1, fit="exact", name="conv").init(jax.random.key(0), x)
  params = layers.conv(3, 3, use_bias=True, name="conv").init(jax.random.key(0), x)["params"]
  assert set(params) == {"kernel", "bias"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_with_finite_gradients(name):
  act = activation(name)
  points = jnp.linspace(-3, 3, 13)
  assert bool(jnp.isfinite(act(points)).all())
  assert bool(jnp.isfinite(jax.vmap(jax.grad(act))(points)).all())


def test_gelu_is_the_exact_one():
  # The paper's definition x * Phi(x) at 1 (arXiv:1606.08415); the tanh form gives 0.84119.
  assert float(activation("gelu")(1.0)) == pytest.approx(0.8413447, abs=1e-6)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"norm": "bacth"}, "unknown norm 'bacth'; did you mean 'batch'"),
    ({"act": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'"),
    ({"dtype": "float16"}, "unknown dtype 'float16'.*bfloat16"),
  ],
)
def test_unknown_names_are_refused(options, message):
  with pytest.raises(ConfigError, match=message):
    make_layers(train=False, **options)
