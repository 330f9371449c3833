"""U-Net's layers against figure 1 of its paper."""

import jax
import numpy as np
import pytest

from cnnlab import testing
from cnnlab.models import create_model
from cnnlab.nn import count_parameters

CHANNELS = (64, 128, 256, 512, 1024)


def test_the_layers_of_figure_1():
  params = testing.trace(create_model("unet"), (1, 64, 64, 1)).variables["params"]
  kernels = [leaf.shape for leaf in jax.tree.leaves(params) if len(leaf.shape) == 4]
  assert len(kernels) == 23  # "In total the network has 23 convolutional layers."
  expected, inputs = 0, 1
  for features in CHANNELS:
    expected += 9 * inputs * features + features + 9 * features**2 + features
    inputs = features
  for features in CHANNELS[-2::-1]:
    expected += 4 * 2 * features**2 + features  # up-convolution
    expected += 9 * 2 * features**2 + features + 9 * features**2 + features
  assert count_parameters(params) == expected + 2 * 64 + 2


@pytest.mark.parametrize(
  ("name", "skips"),
  [
    ("unet", {1: 4, 2: 6}),
    # Above an ImageNet stem's map of stride 2 the path goes on alone, with half the channels.
    ("unet_resnet18", {1: None, 2: 8, 4: 8, 8: 16, 16: 32}),
    ("unet_resnet20", {1: 2, 2: 4}),
  ],
)
def test_each_step_takes_up_the_map_of_its_size(name, skips):
  own = {"unet": {"features": (4, 6, 8)}, "unet_resnet18": {"width": 0.125, "blocks": (1, 1, 1, 1)}}
  options = own.get(name, {"width": 0.125, "blocks": 1})
  net = create_model(name, residual_blocks=False, **options)
  params = testing.trace(net, (1, 64, 64, 3)).variables["params"]
  steps = {int(k.removeprefix("expansion")): v for k, v in params.items() if "expansion" in k}
  assert steps.keys() == skips.keys()
  for stride, channels in skips.items():
    up = steps[stride]["up"]["kernel"].shape[3]
    assert steps[stride]["convs"]["conv1"]["kernel"].shape[2] == up + (channels or 0)
    assert channels is None or up == channels


def test_convolutions_and_scores_start_from_normals_of_variance_2_over_their_inputs():
  """Section 3: from small weights of the scores, a narrow net ignores rare classes."""
  net = create_model("unet", features=(32, 64), num_classes=50)
  params = net.init(jax.random.key(0), np.zeros((1, 8, 8, 3)), train=False)["params"]
  params["expansion1"].pop("up")
  for kernel in (leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4):
    inputs = np.prod(kernel.shape[:3])
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / inputs), rel=0.1)


def test_the_expanding_path_may_have_residual_blocks():
  net = create_model("unet_resnet20", width=0.125, blocks=1)
  step = testing.trace(net, (1, 16, 16, 3)).variables["params"]["expansion1"]
  assert step["block"].keys() == {
    *("conv1", "norm1", "conv2", "norm2"),
    *("shortcut_conv", "shortcut_norm"),
  }
