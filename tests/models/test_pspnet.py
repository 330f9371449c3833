"""PSPNet's pyramid: channels, and what its bins see."""

import jax
import numpy as np
import pytest

from cnnlab import testing
from cnnlab.models import create_model
from cnnlab.models.pspnet import PyramidPooling
from cnnlab.nn import make_layers


def test_the_pyramid_doubles_the_channels():
  net = create_model("pspnet_resnet50", width=0.0625)
  params = testing.trace(net, (1, 64, 64, 3)).variables["params"]
  assert {f"bin{n}_conv" for n in (1, 2, 3, 6)} <= params["pyramid"].keys()
  assert params["pyramid"]["bin6_conv"]["kernel"].shape == (1, 1, 128, 32)
  assert params["classifier"]["conv"]["kernel"].shape == (3, 3, 256, 32)


@pytest.mark.parametrize(("pooling", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_one_bin_is_the_same_everywhere(pooling, reduce):
  layers = make_layers("none", "none", train=False)
  module = PyramidPooling(layers, (1,), pooling)
  x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
  y, variables = module.init_with_output(jax.random.key(1), x)
  kernel = np.asarray(variables["params"]["bin1_conv"]["kernel"])[0, 0]
  expected = reduce(np.asarray(x), (1, 2)) @ kernel
  np.testing.assert_array_equal(y[..., :3], x)
  np.testing.assert_allclose(
    y[..., 3:], np.broadcast_to(expected[:, None, None], (2, 5, 7, 3)), atol=1e-5
  )
