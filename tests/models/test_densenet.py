import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.nn import multiply_adds

TINY = {"growth_rate": 3, "stem_features": 4, "blocks": (2, 2)}


def traced(name, size, **options):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def test_maps_of_table_1():
  (_, feats), _ = traced("densenet121", 224)
  assert {name: feat.shape[1:] for name, feat in feats.items()} == {
    "conv1": (112, 112, 64),
    "stem": (56, 56, 64),
    "block1": (56, 56, 256),
    "block2": (28, 28, 512),
    "block3": (14, 14, 1024),
    "block4": (7, 7, 1024),
    "last_map": (7, 7, 1024),
    "pre_logits": (1024,),
  }


def test_every_layer_sees_all_before_it_and_passes_it_on():
  x = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
  net = create_model("densenet40_12", **TINY)
  variables = jax.jit(lambda x: net.init(jax.random.key(0), x, train=False))(x)
  feats = jax.jit(lambda v, x: net.apply(v, x, train=False)[1])(variables, x)
  np.testing.assert_array_equal(feats["block1"][..., :4], feats["stem"])
  inputs = [variables["params"][f"block1_layer{i}"]["conv1"]["kernel"].shape[2] for i in (1, 2)]
  assert inputs == [4, 7]
  assert feats["block1"].shape[3] == 10


@pytest.mark.parametrize(
  ("name", "stem", "transition", "convs"),
  [
    ("densenet40_12", 16, 160, {"conv1"}),
    ("densenet_b40_12", 16, 88, {"conv1", "conv2"}),
    ("densenet_c40_12", 16, 80, {"conv1"}),
    ("densenet_bc40_12", 24, 48, {"conv1", "conv2"}),
  ],
)
def test_bottleneck_and_compression(name, stem, transition, convs):
  params = traced(name, 8)[1]["params"]
  assert params["conv1"]["kernel"].shape[3] == stem
  assert params["transition1_conv"]["kernel"].shape[3] == transition
  layer = params["block1_layer1"]
  assert {part for part in layer if "conv" in part} == convs
  if "conv2" in convs:
    assert layer["conv1"]["kernel"].shape == (1, 1, stem, 48)


def test_multiply_adds_of_torchvision():
  net = create_model("densenet121")
  x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), x)
  counted = multiply_adds(lambda v, x: net.apply(v, x, train=False), variables, x)
  assert counted / 1e9 == pytest.approx(2.834, rel=1e-3)


def test_dropout_acts_on_every_convolution_but_the_first():
  x = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
  net = create_model("densenet_b40_12", dropout=0.5, **TINY)
  variables = jax.jit(lambda x: net.init(jax.random.key(0), x, train=False))(x)

  @jax.jit
  def stages(key):
    return net.apply(variables, x, train=True, rngs={"dropout": key}, mutable=True)[0][1]

  outs = [stages(jax.random.key(seed)) for seed in (0, 1)]
  np.testing.assert_array_equal(outs[0]["stem"], outs[1]["stem"])
  assert not np.allclose(outs[0]["block1"], outs[1]["block1"])


def test_a_compression_outside_of_its_range_is_refused():
  with pytest.raises(ConfigError, match="1.5 is not float over 0 up to 1"):
    traced("densenet40_12", 8, compression=1.5)
