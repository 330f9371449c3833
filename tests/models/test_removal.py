"""Removed blocks against networks that were built without them."""

import jax
import numpy as np
import pytest

from cnnlab import native
from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.models.removal import outputs_without, random_removals, removable_blocks

SHAPE = (16, 16, 3)


def initial(net, x):
  return jax.jit(lambda x: net.init(jax.random.key(0), x, train=False))(x)


@pytest.mark.parametrize(
  ("name", "options", "expected"),
  [
    ("resnet20", {}, ("1_block1", "1_block2", "1_block3", "2_block2", "2_block3", "3_block2", "3_block3")),
    ("plain20", {"blocks": 2}, ("1_block1", "1_block2", "2_block2", "3_block2")),
    # A bottleneck's first block has four times the stem's channels.
    ("resnet50", {"stem": "cifar", "blocks": (2, 1, 1, 2)}, ("1_block2", "4_block2")),
    ("highway20", {}, (*(f"1_layer{i}" for i in range(2, 8)),
                       *(f"{s}_layer{i}" for s in (2, 3) for i in range(2, 7)))),
    ("vgg11", {"hidden": (8,)}, ()),
    ("densenet_bc40_12", {}, ()),
  ],
)  # fmt: skip
def test_blocks_that_keep_the_shape_are_removable(name, options, expected):
  size = 32 if name == "vgg11" else 16
  blocks = removable_blocks(create_model(name, **options), (size, size, 3))
  assert blocks == tuple(f"stage{block}" for block in expected)


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_a_net_without_its_second_blocks_is_the_net_of_one_block_a_stage(name):
  x = jax.random.normal(jax.random.key(1), (3, *SHAPE))
  options = {"width": 0.25, "num_classes": 4}
  deep, shallow = (create_model(name, blocks=n, **options) for n in (2, 1))
  variables = initial(deep, x)
  kept = {
    kind: {name: leaf for name, leaf in tree.items() if not name.endswith("block2")}
    for kind, tree in variables.items()
  }
  blocks = removable_blocks(deep, SHAPE)
  removals = [[False] * 4, [block.endswith("block2") for block in blocks]]
  whole, without = jax.jit(lambda x: outputs_without(deep, variables, x, blocks, removals))(x)
  np.testing.assert_allclose(whole, deep.apply(variables, x, train=False)[0], atol=1e-5)
  np.testing.assert_allclose(without, shallow.apply(kept, x, train=False)[0], atol=1e-5)
  assert np.abs(whole - without).max() > 1e-3
  with native.disabled():  # all removals at once
    again = jax.jit(lambda x: outputs_without(deep, variables, x, blocks, removals))(x)
  np.testing.assert_allclose(again, [whole, without], atol=1e-5)


def test_draws_remove_as_many_as_asked_and_nest():
  flags = random_removals(7, (0, 1, 3, 7), draws=50)
  assert flags.shape == (4, 50, 7)
  assert (flags.sum(axis=2) == np.array([[0], [1], [3], [7]])).all()
  assert (flags[1] <= flags[2]).all()
  assert flags[1].any(axis=0).all()  # in fifty draws every block is met
  np.testing.assert_array_equal(flags, random_removals(7, (0, 1, 3, 7), draws=50))
  assert random_removals(7, (), draws=2).shape == (0, 2, 7)
  with pytest.raises(ConfigError, match=r"8 blocks cannot.*has 7"):
    random_removals(7, (1, 8), draws=1)
