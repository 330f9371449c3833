"""Feature reuse read off kernels whose weights are known, one value for each pair of layers."""

import jax
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.inspect.feature_reuse import feature_reuse, feature_reuse_figure
from cnnlab.models import create_model


def parameters(name, **options):
  net = create_model(name, stem="cifar", growth_rate=3, stem_features=5, num_classes=4, **options)
  image = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
  shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), image)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes["params"])


def value(block, source, target):
  return block + 0.1 * target + 0.01 * source


def fill(kernel, block, target, entering):
  """Gives the weights of each source, one channel at a time, their value with changing signs."""
  signs = np.random.default_rng(target).choice([-1.0, 1.0], kernel.shape)
  for channel in range(kernel.shape[-2]):
    source = 0 if channel < entering else 1 + (channel - entering) // 3
    kernel[..., channel, :] = value(block, source, target) * signs[..., channel, :]


@pytest.mark.parametrize("bottleneck", [True, False])
def test_each_pair_of_layers_has_its_own_weight(bottleneck):
  params = parameters("densenet_bc40_12", blocks=(3, 2), bottleneck=bottleneck)
  entering = {1: 5, 2: (5 + 3 * 3) // 2}  # a transition keeps half of the channels
  for block, layers in ((1, 3), (2, 2)):
    for layer in range(1, layers + 1):
      fill(params[f"block{block}_layer{layer}"]["conv1"]["kernel"], block, layer, entering[block])
  fill(params["transition1_conv"]["kernel"], 1, 4, entering[1])
  fill(params["head"]["kernel"], 2, 3, entering[2])
  table = feature_reuse(params)
  pairs = [(1, s, t) for t in (1, 2, 3, 4) for s in range(t)]
  pairs += [(2, s, t) for t in (1, 2, 3) for s in range(t)]
  assert list(table[["block", "source", "target"]].itertuples(index=False, name=None)) == pairs
  assert table["weight"].tolist() == pytest.approx([value(*pair) for pair in pairs])

  first, second, *_ = feature_reuse_figure(table).axes
  assert (first.get_title("left"), second.get_title("left")) == ("Block 1", "Block 2")
  shown = first.images[0].get_array()
  assert shown.shape == (4, 4)
  assert float(shown[0, 1]) == pytest.approx(value(1, 0, 2) / value(1, 1, 2))
  assert np.ma.is_masked(shown[2, 0]) or np.isnan(shown[2, 0])  # no later layer is read


def test_an_encoder_has_no_classifier_and_other_nets_no_reuse():
  params = parameters("densenet_bc40_12", blocks=(2,))
  del params["head"]
  assert feature_reuse(params)["target"].max() == 2
  with pytest.raises(ConfigError, match="of a DenseNet"):
    feature_reuse({"conv1": {"kernel": np.zeros((3, 3, 3, 4))}})
  with pytest.raises(ConfigError, match="'weight'"):
    feature_reuse(parameters("densenet_bc40_12", blocks=(2,), norm="weight"))
