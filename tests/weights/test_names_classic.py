"""The rules for AlexNet, VGG and GoogLeNet beyond the sizes whose outputs are compared."""

import json

import jax
import numpy as np
import pytest

from cnnlab.models import create_model
from cnnlab.nn import count_parameters
from cnnlab.weights import from_torchvision
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names import source_of

# torchvision's `vgg.cfgs`: channels, "M" for a pooling.
LAYERS = {
  "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
  "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
  "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_sizes_of_vgg_are_numbered_as_torchvision_builds_them(name, normed):
  expected, index = set(), 0
  for layer in LAYERS[name].split():
    if layer == "M":
      index += 1
      continue
    expected |= {f"features.{index}.{leaf}" for leaf in ("weight", "bias")}
    if normed:
      leaves = ("weight", "bias", "running_mean", "running_var")
      expected |= {f"features.{index + 1}.{leaf}" for leaf in leaves}
    index += 3 if normed else 2
  expected |= {f"classifier.{i}.{leaf}" for i in (0, 3, 6) for leaf in ("weight", "bias")}

  net = create_model(name + "_bn" * normed)
  x = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
  variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), x)
  paths = [
    tuple(part.key for part in path) for path, _ in jax.tree_util.tree_leaves_with_path(variables)
  ]
  names = [source_of(FAMILIES["vgg"].of(net), path).name for path in paths]
  assert len(names) == len(set(names))
  assert set(names) == expected


def test_auxiliary_heads_of_a_file_are_left_out_of_a_net_without_them(project):
  fixture = json.loads((project / "tests/fixtures/parity/googlenet.json").read_text())
  source = {key: np.zeros(shape, np.float32) for key, shape in fixture["state_dict"]}
  _, variables = from_torchvision("googlenet", source, auxiliary=False)
  assert count_parameters(variables["params"]) == 6_624_904
