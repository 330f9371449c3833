"""Segmentation networks against what torchvision computes on the same weights and images."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.models.registry import family_of
from cnnlab.weights import WeightsError, from_torchvision
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names import source_of
from tests import parity_weights
from tests.weights.test_torchvision import SMALL, state_dict

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "parity"


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_both_heads_agree_with_torchvision(name):
  found = json.loads((FIXTURES / f"{name}.json").read_text())
  tensors = {n: parity_weights.tensor(n, tuple(shape)) for n, shape in found["state_dict"]}
  model, variables = from_torchvision(name, tensors)
  counted = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  assert counted == found["parameter_count"]
  given = found["input"]
  x = parity_weights.image(given["batch"], given["size"]).transpose(0, 2, 3, 1)

  def run(variables, x):
    logits, feats = model.apply(variables, x, train=False)
    return {"out": logits, "aux": feats["auxiliary_logits"][0]}

  for head, array in jax.jit(run)(variables, x).items():
    expected = found["outputs"][head]
    out = np.asarray(array).transpose(0, 3, 1, 2)
    assert list(out.shape) == expected["shape"]
    largest = np.abs(expected["value"]).max()
    np.testing.assert_allclose(
      out.ravel()[expected["index"]], expected["value"], rtol=0, atol=1e-5 * largest
    )
    np.testing.assert_allclose(np.linalg.norm(out.astype(np.float64)), expected["l2"], rtol=1e-5)


@pytest.fixture(scope="module")
def small():
  return state_dict("fcn_resnet50", num_classes=21, **SMALL)


def test_other_classes_replace_the_last_layers_alone(small):
  _, own = from_torchvision("fcn_resnet50", small, **SMALL)
  _, other = from_torchvision("fcn_resnet50", small, num_classes=12, **SMALL)
  same = jax.tree.map(np.array_equal, own["params"], other["params"])
  flat = traverse_util.flatten_dict(same, sep="/")
  heads = ("auxiliary", "classifier")
  changed = {path for path, equal in flat.items() if not equal}
  assert changed == {f"{head}/head/{leaf}" for head in heads for leaf in ("bias", "kernel")}
  assert other["params"]["classifier"]["head"]["kernel"].shape[3] == 12


def test_the_auxiliary_head_may_be_left_out(small):
  _, variables = from_torchvision("fcn_resnet50", small, auxiliary=False, **SMALL)
  assert "auxiliary" not in variables["params"]
  without = {name: tensor for name, tensor in small.items() if "aux" not in name}
  with pytest.raises(WeightsError, match=r"missing: aux_classifier\.0\.weight"):
    from_torchvision("fcn_resnet50", without, **SMALL)


def test_what_torchvision_lacks_is_refused():
  with pytest.raises(ConfigError, match="model 'fcn8s_vgg16' of torchvision's"):
    from_torchvision("fcn8s_vgg16", {})


@pytest.mark.parametrize("name", ["fcn_resnet101", "deeplabv3_resnet101"])
def test_other_depths_have_a_name_for_every_tensor(name):
  net = create_model(name)
  key = jax.random.key(0)
  shapes = jax.eval_shape(lambda: net.init(key, jnp.zeros((1, 64, 64, 3)), train=False))
  paths = traverse_util.flatten_dict(dict(shapes))
  names = [source_of(FAMILIES[family_of(name)], path).name for path in paths]
  assert len(names) == len(set(names))
  assert {n.split(".")[0] for n in names} == {"backbone", "classifier", "aux_classifier"}
