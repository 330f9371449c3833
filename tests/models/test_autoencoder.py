"""Autoencoders: sizes, the published layers, codes, and encoders that classifiers share."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab import testing
from cnnlab.errors import ConfigError
from cnnlab.models import create_encoder, create_model, list_models, model_options
from cnnlab.models.registry import output_of
from cnnlab.nn import NORMS, count_parameters

SMALL = {
  "autoencoder_convnet": {"features": (4, 6), "code": 5, "norm": "batch"},
  "autoencoder_resnet20": {"width": 0.25, "blocks": 1},
  "autoencoder_dense": {"hidden": (9, 7), "code": 3},
  "autoencoder_unpooling": {"convs": (1, 2), "features": (4, 6)},
}


def paths(tree, prefix=""):
  """Returns {path: shape} of parameters."""
  if not isinstance(tree, dict):
    return {prefix: tree.shape}
  return {
    path: shape
    for name, part in tree.items()
    for path, shape in paths(part, f"{prefix}/{name}").items()
  }


@pytest.mark.parametrize("size", [(28, 28, 1), (45, 31, 3)])
@pytest.mark.parametrize("name", SMALL)
def test_outputs_have_the_images_size(name, size):
  small = SMALL[name]
  if name == "autoencoder_convnet":
    small = {**small, "pool_fit": "pad"}
  traced = testing.trace(create_model(name, **small), (2, *size))
  assert traced.out.shape == (2, *size)
  assert traced.out.dtype == jnp.float32
  assert traced.feats["code"].shape[0] == 2
  if "code" in small:
    assert traced.feats["code"].shape == (2, small["code"])


def test_parameters_are_those_of_the_published_layers():
  widths = 784, 1000, 500, 250, 30, 250, 500, 1000, 784
  expected = sum(a * b + b for a, b in itertools.pairwise(widths))
  params = testing.trace(create_model("autoencoder_dense"), (1, 28, 28, 1)).variables["params"]
  assert count_parameters(params) == expected == 2_837_314


@pytest.mark.parametrize(
  ("name", "classifier", "options"),
  [
    ("autoencoder_convnet", "convnet", {"features": (4, 6), "hidden": ()}),
    ("autoencoder_resnet20", "resnet20", SMALL["autoencoder_resnet20"]),
    ("autoencoder_dense", "convnet", {"features": (), "hidden": (9, 7)}),
  ],
)
def test_the_encoder_is_the_classifier_without_its_head(name, classifier, options):
  own = {**SMALL[name], "norm": "none"} if name == "autoencoder_convnet" else SMALL[name]
  shape = (1, 32, 32, 3)
  encoder = testing.trace(create_model(name, **own), shape).variables["params"]["encoder"]
  whole = testing.trace(create_model(classifier, **options), shape).variables["params"]
  assert paths(encoder) == {p: s for p, s in paths(whole).items() if not p.startswith("/head")}


def test_the_unpooling_encoder_is_vggs():
  options = {"convs": (1, 1, 2, 2, 2), "width": 0.125, "norm": "batch"}
  shape = (1, 32, 32, 3)
  encoder = testing.trace(create_model("autoencoder_unpooling", **options), shape).variables[
    "params"
  ]
  vgg = testing.trace(create_model("vgg11_bn", head="avgpool", width=0.125), shape).variables[
    "params"
  ]
  assert paths(encoder["encoder"]) == {
    p: s for p, s in paths(vgg).items() if not p.startswith("/head")
  }


@pytest.mark.parametrize("name", ["autoencoder_convnet", "autoencoder_unpooling"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_decoder_has_the_norm_of_the_encoder(name, norm):
  testing.check_norm(create_model(name, **{**SMALL[name], "norm": norm}), norm, (8, 8, 1))


@pytest.mark.parametrize("name", SMALL)
def test_the_image_comes_from_the_code_alone(name):
  """Two images with the same code (and switches) have the same reconstruction: the decoder is told no more."""
  net = create_model(name, **SMALL[name])
  images = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
  variables = net.init(jax.random.key(1), images, train=False)
  encoder = "encoder"
  silent = jax.tree.map(jnp.zeros_like, variables["params"][encoder])
  params = {**variables["params"], encoder: silent}
  out, feats = net.apply({**variables, "params": params}, images, train=False)
  np.testing.assert_array_equal(feats["code"][0], feats["code"][1])
  np.testing.assert_array_equal(out[0], out[1])


def test_names_and_options():
  assert output_of("autoencoder_densenet121") == "reconstruction"
  assert "autoencoder_dense" in list_models(output="reconstruction")
  assert "num_classes" not in model_options("autoencoder_convnet")
  with pytest.raises(ConfigError, match="unknown option 'num_classes'"):
    create_model("autoencoder_convnet", num_classes=3)
  with pytest.raises(ConfigError, match="unknown model 'autoencoder_unet'"):
    create_model("autoencoder_unet")
  with pytest.raises(ConfigError, match="is a network for reconstruction"):
    create_encoder("autoencoder_dense")
