"""Every named size has its published number of parameters, exactly."""

import jax
import jax.numpy as jnp
import pytest

from cnnlab.models import create_model, list_models
from cnnlab.models.registry import family_of
from cnnlab.nn import count_parameters
from tests.models.published_counts import CLASSIC

IMAGES = {"lenet": (32, 32, 1), "all_cnn": (32, 32, 3)}
CLASSIC_FAMILIES = ("alexnet", "all_cnn", "googlenet", "lenet", "vgg", "zfnet")


@pytest.mark.parametrize(("name", "options", "parameters"), CLASSIC)
def test_named_sizes_have_the_published_count(name, options, parameters):
  net = create_model(name, **options)
  x = jax.ShapeDtypeStruct((1, *IMAGES.get(family_of(name), (224, 224, 3))), jnp.float32)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  variables = jax.eval_shape(lambda x: net.init(rngs, x, train=False), x)
  assert count_parameters(variables["params"]) == parameters


def test_no_size_is_left_out():
  ours = {name for name in list_models() if family_of(name) in CLASSIC_FAMILIES}
  assert ours == {name for name, _, _ in CLASSIC}
