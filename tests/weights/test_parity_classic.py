"""Logits against torchvision's on the same deterministic weights; fixtures hold its fingerprints."""

import functools
import json

import jax
import numpy as np
import pytest

from cnnlab.nn import count_parameters
from cnnlab.weights import from_torchvision
from tests import parity_weights

# VGG's nets share the names and shapes of their large layers.
tensor = functools.cache(parity_weights.tensor)


@pytest.fixture(scope="module", autouse=True)
def forget():
  yield
  tensor.cache_clear()


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "vgg11", "vgg16", "vgg16_bn", "vgg19"])
def test_logits_agree_with_torchvision(name, project):
  fixture = json.loads((project / f"tests/fixtures/parity/{name}.json").read_text())
  source = {key: tensor(key, tuple(shape)) for key, shape in fixture["state_dict"]}
  model, variables = from_torchvision(name, source)
  assert count_parameters(variables["params"]) == fixture["parameter_count"]
  given, expected = fixture["input"], fixture["outputs"]["logits"]
  x = parity_weights.image(given["batch"], given["size"]).transpose(0, 2, 3, 1)
  logits = np.asarray(jax.jit(lambda v, x: model.apply(v, x, train=False)[0])(variables, x))
  assert list(logits.shape) == expected["shape"]
  value = np.array(expected["value"])
  error = np.abs(logits.ravel()[expected["index"]] - value).max()
  assert error < 1e-5 * np.abs(value).max()
  assert np.linalg.norm(logits) == pytest.approx(expected["l2"], rel=1e-5)


def test_auxiliary_heads_of_a_file_are_left_out_of_a_net_without_them(project):
  fixture = json.loads((project / "tests/fixtures/parity/googlenet.json").read_text())
  source = {key: np.zeros(shape, np.float32) for key, shape in fixture["state_dict"]}
  _, variables = from_torchvision("googlenet", source, auxiliary=False)
  assert count_parameters(variables["params"]) == 6_624_904
