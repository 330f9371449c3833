"""What holds for each classifier in the registry; a new family is tested by being registered.

A family's smallest net stands for it; `TINY` makes it cheap, `IMAGES` says what it looks at.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cnnlab.models import create_model, list_models, model_options
from cnnlab.models.registry import family_of
from cnnlab.nn import NORMS

IMAGES = {
  "grammar": (8, 8, 1),
  "lenet": (32, 32, 1),
  "resnet": (16, 16, 3),
  "densenet": (16, 16, 3),
  "highway": (8, 8, 3),
}
TINY = {
  "alexnet": {"width": 0.0625, "stem": "cifar"},
  "all_cnn": {"width": 0.0625},
  "googlenet": {"width": 0.125, "stem": "cifar", "modules": ("3a", "4d", "5b")},
  "vgg": {"width": 0.0625, "convs": (1, 1, 1, 1, 2), "grid": "native"},
  "zfnet": {"width": 0.0625, "stem": "cifar", "initial": "kaiming"},
  "densenet": {"growth_rate": 4, "stem_features": 8, "blocks": (1, 2, 1), "bottleneck": True},
  "highway": {"stages": ((4, 4), (8, 8), (8,))},
  "vit": {"features": 24, "depth": 2, "heads": 3, "mlp_features": 32, "patch_size": 16},
  "grammar": {"features": (4, 6), "hidden": (8,)},
  "resnet": {
    "width": 0.125,
    "blocks": (1, 1, 1, 1),
    "stem": "cifar",
    "residual": True,
    "bottleneck": True,
  },
  "resnet_cifar": {"width": 0.25, "blocks": 1},
}
RNGS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
# In reverse, so that a family's first name is the last that is set.
SMALLEST = {family_of(name): name for name in reversed(list_models(output="classification"))}
FAMILIES = sorted(SMALLEST)


def image(name, batch=2):
  return jax.ShapeDtypeStruct((batch, *IMAGES.get(family_of(name), (32, 32, 3))), jnp.float32)


def tiny(family, **options):
  known = model_options(SMALLEST[family])
  chosen = {**TINY.get(family, {}), **options}
  return create_model(SMALLEST[family], **{k: v for k, v in chosen.items() if k in known})


@functools.cache
def initial(net, shape):
  """The variables of a net, for all tests that ask; they do not depend on the images."""
  return jax.jit(lambda x: net.init(RNGS, x, train=False))(jnp.zeros(shape))


@functools.cache
def traced(net, x):
  """Shapes of output, stages, variables at initialisation, and updates in training."""

  def run(x):
    (out, feats), variables = net.init_with_output(RNGS, x, train=False)
    _, updates = net.apply(variables, x, train=True, rngs=RNGS, mutable=["batch_stats"])
    return out, feats, variables, updates

  return jax.eval_shape(run, x)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_leave_no_trace_of_each_other(family, norm):
  if "norm" not in model_options(SMALLEST[family]):
    pytest.skip(f"{family} has no norm option")
  out, feats, variables, updates = traced(tiny(family, norm=norm), image(SMALLEST[family]))
  assert out.dtype == jnp.float32
  assert "pre_logits" in feats
  leaves = {path[-1] for path in traverse_util.flatten_dict(variables["params"])}
  kept = {path[-1] for path in traverse_util.flatten_dict(variables.get("batch_stats", {}))}
  allowed = {
    "batch": {"mean", "var"},
    "frozen_batch": {"mean", "var", "scale", "bias"},
    "switchable": {"mean", "var"},
    "weight_mean_only": {"mean"},
  }
  assert kept == allowed.get(norm, set())
  assert ("mean_weight" in leaves) == (norm == "switchable")
  if norm in ("none", "lrn", "frozen_batch"):
    assert "scale" not in leaves
  assert jax.tree.structure(updates) == jax.tree.structure(
    {k: v for k, v in variables.items() if k == "batch_stats"}
  )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
def test_downsampling_and_types(family, dtype, downsample):
  options = {"dtype": dtype, "downsample": downsample, "num_classes": 7}
  out, feats, variables, _ = traced(tiny(family, **options), image(SMALLEST[family]))
  reference = traced(tiny(family, num_classes=7), image(SMALLEST[family]))
  assert out.shape == (2, 7)
  assert out.dtype == jnp.float32
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
  assert {name: f.shape for name, f in feats.items()} == {
    name: f.shape for name, f in reference[1].items()
  }


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_finite_and_reach_every_parameter(family):
  net, shape = tiny(family), image(SMALLEST[family], 4).shape
  x = jax.random.normal(jax.random.key(2), shape)
  variables = initial(net, (2, *shape[1:]))

  def gradient(params):
    def loss(params):
      everything = {**variables, "params": params}
      (out, feats), _ = net.apply(everything, x, train=True, rngs=RNGS, mutable=["batch_stats"])
      # An auxiliary classifier's parameters are reached through its own logits.
      logits = (out, *feats.get("auxiliary_logits", ()))
      return -sum(jax.nn.log_softmax(o)[jnp.arange(4), jnp.arange(4)].mean() for o in logits)

    return jax.grad(loss)(params)

  found = jax.jit(gradient)(variables["params"])
  for path, leaf in traverse_util.flatten_dict(jax.device_get(found), sep="/").items():
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_deterministic_and_independent_of_the_batch(family):
  net, shape = tiny(family), image(SMALLEST[family], 4).shape
  x = jax.random.normal(jax.random.key(2), shape)
  variables = initial(net, (2, *shape[1:]))

  def run(x):
    logits, feats = net.apply(variables, x, train=False)
    return logits, {name: jnp.isfinite(value).all() for name, value in feats.items()}

  (whole, finite), (part, _) = jax.jit(run)(x), jax.jit(run)(x[:2])
  np.testing.assert_allclose(whole[:2], part, rtol=1e-4, atol=1e-5)
  assert all(finite.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_names_and_shapes_start_from_equal_weights(family):
  """Paired ablations rest on it: initial weights depend on a module's path alone."""
  if "norm" not in model_options(SMALLEST[family]):
    pytest.skip(f"{family} has no norm option")
  shape = image(SMALLEST[family]).shape
  first, second = (
    traverse_util.flatten_dict(initial(tiny(family, norm=norm), shape)["params"])
    for norm in ("batch", "weight")
  )
  kernels = [path for path in first if path[-1] == "kernel"]
  assert len(kernels) >= 2
  for path in kernels:
    # Each net is compiled as a whole, which may round the scale of a draw in another place.
    np.testing.assert_allclose(first[path], second[path], rtol=1e-5, atol=1e-6)
