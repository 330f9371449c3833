from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ShapeError
from cnnlab.models import create_model
from cnnlab.models.highway import SIZES

TINY = {"stages": ((4, 4), (8, 8)), "head": "avgpool"}
X = jax.random.normal(jax.random.key(3), (2, 8, 8, 3))


def initial(net, x=X):
  return net.init(jax.random.key(0), x, train=False)


def applied(net, variables):
  return jax.jit(lambda v: net.apply(v, X, train=False))(variables)


def with_gates(bias, **options):
  """Stages of a net whose gates have weights of zero and the bias given."""
  net = create_model("highway19", **{**TINY, **options})
  variables = jax.jit(partial(initial, net))(X)
  for layer in variables["params"].values():
    if "gate" in layer:
      layer["gate"]["kernel"] = jnp.zeros_like(layer["gate"]["kernel"])
      layer["gate_bias"] = jnp.full_like(layer["gate_bias"], bias)
  return applied(net, variables)[1], variables


def test_a_closed_gate_carries_and_an_open_one_transforms():
  carried, variables = with_gates(-40.0)
  opened, _ = with_gates(40.0)
  half, _ = with_gates(0.0)
  plain = applied(create_model("highway19", gated=False, **TINY), variables)[1]
  # The first layer changes the channels, so it is plain; the second is all that is gated.
  first = create_model("highway19", **{**TINY, "stages": ((4,), (8, 8))})
  before = applied(first, variables)[1]["stage1"]
  np.testing.assert_allclose(carried["stage1"], before, atol=1e-6)
  np.testing.assert_allclose(opened["stage1"], plain["stage1"], atol=1e-6)
  np.testing.assert_allclose(half["stage1"], (before + plain["stage1"]) / 2, atol=1e-6)


@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_gates_start_at_the_bias_that_is_asked_for(norm):
  net = create_model("highway19", norm=norm, gate_bias=-3.0, **TINY)
  params = jax.jit(partial(initial, net))(X)["params"]
  gated = {name for name, layer in params.items() if "gate" in layer}
  assert gated == {"stage1_layer2", "stage2_layer2"}
  assert {float(b) for name in gated for b in params[name]["gate_bias"]} == {-3.0}


@pytest.mark.parametrize(("name", "layers"), [(n, int(n[7:].split("_")[0])) for n in SIZES])
def test_depth(name, layers):
  # FitNet-4 counts its fully connected layer, which global average pooling replaces.
  missing = 1 if name == "highway19" else 0
  assert sum(map(len, create_model(name).stages)) + 1 == layers - missing


def test_twins_have_the_resnets_layers():
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  plain, twin = (
    jax.eval_shape(partial(initial, create_model(name)), image)["params"]
    for name in ("plain20", "highway20")
  )
  found = [layer["conv"]["kernel"].shape for name, layer in twin.items() if "layer" in name]
  expected = [plain["conv1"]["kernel"].shape]
  for name, block in plain.items():
    if "block" in name:
      expected += [block["conv1"]["kernel"].shape, block["conv2"]["kernel"].shape]
  assert sorted(found) == sorted(expected)
  # All but the first layer of each stage have a gate.
  assert sum("gate" in layer for layer in twin.values()) == len(found) - 3


def test_windows_alternate():
  params = jax.eval_shape(
    partial(initial, create_model("highway32")), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  )["params"]
  sides = [params[f"stage1_layer{i}"]["conv"]["kernel"].shape[0] for i in range(1, 11)]
  assert sides == [3, 1] * 5


def test_too_small_an_image():
  with pytest.raises(ShapeError, match="highway net of 10 layers has a total stride of 8.*4x4"):
    initial(create_model("highway10_16"), jnp.zeros((1, 4, 4, 1)))
