"""Logits of the residual, dense and transformer nets against what torchvision computes on the same weights and images.

The fixtures under tests/fixtures/parity record torchvision's names, shapes and outputs for weights
that `tests/parity_weights.py` makes from a tensor's name alone.
"""

import json
import pathlib

import jax
import numpy as np
import pytest

from cnnlab.models.registry import family_of
from cnnlab.weights import from_torchvision
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names_modern import FAMILIES as MODERN
from tests import parity_weights

FIXTURES = sorted((pathlib.Path(__file__).parents[1] / "fixtures" / "parity").glob("*.json"))
CONVERTIBLE = [path for path in FIXTURES if family_of(path.stem) in MODERN]


@pytest.mark.parametrize("path", CONVERTIBLE, ids=lambda path: path.stem)
def test_logits_agree_with_torchvision(path):
  fixture = json.loads(path.read_text())
  tensors = {n: parity_weights.tensor(n, tuple(shape)) for n, shape in fixture["state_dict"]}
  model, variables = from_torchvision(path.stem, tensors)
  counted = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  assert counted == fixture["parameter_count"]
  given = fixture["input"]
  x = parity_weights.image(given["batch"], given["size"]).transpose(0, 2, 3, 1)
  out = np.asarray(jax.jit(lambda v, x: model.apply(v, x, train=False)[0])(variables, x))
  expected = fixture["outputs"]["logits"]
  assert list(out.shape) == expected["shape"]
  largest = np.abs(expected["value"]).max()
  np.testing.assert_allclose(
    out.ravel()[expected["index"]], expected["value"], rtol=0, atol=1e-5 * largest
  )
  np.testing.assert_allclose(np.linalg.norm(out.astype(np.float64)), expected["l2"], rtol=1e-5)


def test_every_family_that_converts_has_a_fixture():
  # Of the CIFAR nets, which torchvision lacks, test_borrowed.py has the published errors.
  assert {family_of(path.stem) for path in FIXTURES} == set(FAMILIES) - {"resnet_cifar"}
