"""Every named size against the count that its paper or torchvision has for it."""

import functools

import jax
import jax.numpy as jnp
import pytest

from cnnlab.models import create_model, list_models
from cnnlab.models.registry import family_of
from cnnlab.nn import count_parameters
from tests.models.published_counts import CLASSIC, MODERN, ROUNDED

# A count does not depend on the image, except where fully connected layers, positions or a stem
# that refuses small ones do.
SIZES = {"resnet": 64, "densenet": 64, "resnet_cifar": 8, "highway": 32}
CIFAR = ("densenet", "all_cnn")


@functools.cache
def count(name, options):
  net = create_model(name, **dict(options))
  grey = name.startswith(("lenet", "highway10_"))
  size = 28 if name.startswith("highway10_") else 32 if name.startswith("lenet") else 224
  size = SIZES.get(family_of(name), size) if not grey else size
  image = jax.ShapeDtypeStruct((1, size, size, 1 if grey else 3), jnp.float32)
  key = jax.random.key(0)
  variables = jax.eval_shape(
    lambda x: net.init({"params": key, "dropout": key}, x, train=False), image
  )
  return count_parameters(variables["params"])


@pytest.mark.parametrize(("name", "options", "parameters"), CLASSIC + MODERN)
def test_exact(name, options, parameters):
  assert count(name, tuple(options.items())) == parameters


@pytest.mark.parametrize(("name", "millions", "within"), ROUNDED)
def test_to_the_digits_that_are_printed(name, millions, within):
  assert abs(count(name, ()) / 1e6 - millions) <= within


def test_no_named_size_is_without_a_published_count():
  counted = {name for name, *_ in CLASSIC + MODERN + ROUNDED}
  # Nets of ours, and sizes between the published ones whose papers print no count.
  elsewhere = {"resnet1202", "plain1202"}  # test_resnet_cifar.py: tracing them takes seconds
  ours = {"convnet", "highway20", "highway44", "highway56", "highway110"}
  unprinted = {"vit_ti_32", "densenet_b40_12", "densenet_b100_12", "densenet_c40_12"}
  unprinted |= {"densenet_c100_12", "densenet_bc40_12"}
  assert set(list_models(output="classification")) - counted <= ours | unprinted | elsewhere
