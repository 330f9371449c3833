"""The three forms of a ResNeXt block (arXiv:1611.05431, figure 3), in NumPy float64 and ours."""

import jax
import numpy as np
import pytest

from cnnlab.models.residual import Block
from cnnlab.nn import make_layers
from tests.nn.references import correlate, randoms

PATHS, DEPTH, INPUTS = 4, 3, 32
ONE = ((1, 1), (1, 1))


def normed(x, norm, stats, channels=slice(None)):
  """Batch norm in evaluation, of some of its channels."""
  mean, var, scale, bias = (
    np.asarray(a, np.float64)[channels]
    for a in (stats["mean"], stats["var"], norm["scale"], norm["bias"])
  )
  return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def path(x, params, stats, index):
  """The 1x1 and the 3x3 convolution of one path, [batch, height, width, DEPTH]."""
  own = slice(index * DEPTH, (index + 1) * DEPTH)
  x = correlate(x, params["conv1"]["kernel"][..., own])
  x = np.maximum(normed(x, params["norm1"], stats["norm1"], own), 0)
  x = correlate(x, params["conv2"]["kernel"][..., own], pads=ONE)
  return np.maximum(normed(x, params["norm2"], stats["norm2"], own), 0)


def split_branches(x, params, stats):
  """Figure 3a: every path ends in a 1x1 convolution of its own, and the paths are added."""
  kernel = params["conv3"]["kernel"]
  return sum(
    correlate(path(x, params, stats, i), kernel[:, :, i * DEPTH : (i + 1) * DEPTH])
    for i in range(PATHS)
  )


def early_concatenation(x, params, stats):
  """Figure 3b: the paths are concatenated before one 1x1 convolution."""
  paths = [path(x, params, stats, i) for i in range(PATHS)]
  return correlate(np.concatenate(paths, axis=-1), params["conv3"]["kernel"])


@pytest.mark.parametrize("form", [split_branches, early_concatenation])
def test_split_branches_and_concatenation_are_our_grouped_convolution(form):
  layers = make_layers("batch", train=False)
  block = Block(
    layers, INPUTS // 4, bottleneck=True, cardinality=PATHS, base_width=DEPTH * 64 // (INPUTS // 4)
  )
  x = randoms(2, 5, 6, INPUTS)
  variables = block.init(jax.random.key(0), x, train=False)
  # Every scale, shift and average at a value of its own, so that none could be mixed up.
  leaves, tree = jax.tree.flatten(variables)
  noise = [np.abs(randoms(*leaf.shape, seed=i)) for i, leaf in enumerate(leaves)]
  variables = jax.tree.unflatten(tree, [a + 0.3 * b for a, b in zip(leaves, noise, strict=True)])
  params, stats = variables["params"], variables["batch_stats"]
  assert params["conv2"]["kernel"].shape == (3, 3, DEPTH, PATHS * DEPTH)
  branch = normed(form(x, params, stats), params["norm3"], stats["norm3"])
  expected = np.maximum(branch + x, 0)
  np.testing.assert_allclose(block.apply(variables, x, train=False), expected, rtol=1e-4, atol=1e-4)
