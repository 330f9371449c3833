"""Our weights under torchvision's names: the inverse of the conversion, on small nets."""

import json
import pathlib

import jax
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.weights import from_torchvision
from cnnlab.weights.to_torchvision import to_torchvision
from tests import parity_weights

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "parity"


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_the_tensors_that_went_in_come_out(name):
  """Names and shapes are those that torchvision's own model has."""
  fixture = json.loads((FIXTURES / f"{name}.json").read_text())
  shapes = {n: s for n, s in fixture["state_dict"] if not n.endswith("num_batches_tracked")}
  tensors = {n: parity_weights.tensor(n, tuple(shape)) for n, shape in shapes.items()}
  found = to_torchvision(name, *from_torchvision(name, tensors))
  assert found.keys() == tensors.keys()
  for tensor, array in tensors.items():
    np.testing.assert_array_equal(found[tensor], array)


@pytest.mark.parametrize(
  ("name", "options", "size"),
  [
    ("alexnet", {"features": (4, 4, 6, 4, 4), "hidden": (8, 8)}, 224),
    ("vit_b_16", {"depth": 1}, 32),
  ],
)
def test_flattened_maps_and_attention_return_as_they_were(name, options, size):
  options = {k: v for k, v in options.items() if k in create_model(name).__dataclass_fields__}
  model = create_model(name, num_classes=7, **options)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  shapes = jax.eval_shape(lambda: model.init(rngs, np.zeros((1, size, size, 3)), train=False))
  variables = jax.tree_util.tree_map_with_path(
    lambda path, leaf: parity_weights.tensor(jax.tree_util.keystr(path), leaf.shape), shapes
  )
  found = to_torchvision(name, model, variables)
  _, again = from_torchvision(name, found, num_classes=7, image_size=size, **options)
  jax.tree.map(np.testing.assert_array_equal, dict(variables), dict(again))


def test_torchvision_has_no_such_network():
  with pytest.raises(
    ConfigError, match="model 'fcn_resnet18' of torchvision's.*did you mean 'fcn_resnet101'"
  ):
    to_torchvision("fcn_resnet18", create_model("fcn_resnet18"), {})
