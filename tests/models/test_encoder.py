"""Every family offers its maps to decoders in the same terms."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from cnnlab import testing
from cnnlab.errors import ConfigError
from cnnlab.models import FeatureMap, create_model, feature_maps, pyramid
from tests.models.test_every_model import FAMILIES, IMAGES, TINY, tiny


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_pyramid(family):
  shape = IMAGES.get(family, (32, 32, 3))
  net = tiny(family)
  maps, levels = feature_maps(net, shape), pyramid(net, shape)
  strides = [level.stride for level in levels]
  assert strides == sorted(set(strides))
  # A ViT has one resolution; everything else reduces the map on its way.
  assert len(levels) >= (1 if family == "vit" else 2)
  assert [m.stride for m in maps] == sorted(m.stride for m in maps)
  assert maps[-1] == levels[-1]

  feats = testing.trace(net, (2, *shape)).feats
  for found in maps:
    assert feats[found.name].shape == (2, *found.size, found.channels)


@pytest.mark.parametrize(
  ("name", "options", "shape", "expected"),
  [
    (
      "resnet18",
      {},
      (64, 96, 3),
      [("conv1", 2, 64), ("stage1", 4, 64), ("stage2", 8, 128)]
      + [("stage3", 16, 256), ("stage4", 32, 512)],
    ),
    (
      "resnet18",
      {"output_stride": 8},
      (64, 64, 3),
      [("conv1", 2, 64), ("stage1", 4, 64), ("stage4", 8, 512)],
    ),
    (
      "preresnet110",
      {"blocks": 1},
      (32, 32, 3),
      [("stage1", 1, 16), ("stage2", 2, 32), ("last_map", 4, 64)],
    ),
    ("lenet5", {}, (32, 32, 1), [("s2", 2, 6), ("s4", 4, 16)]),
    ("all_cnn_c", {}, (32, 32, 3), [("block1", 2, 96), ("head2", 4, 192)]),
    ("alexnet", {}, (224, 224, 3), [("conv1", 8, 64), ("conv4", 16, 256), ("conv5", 32, 256)]),
    ("vit_h_14", {"depth": 1}, (224, 224, 3), [("last_map", 14, 1280)]),
  ],
)
def test_strides_are_the_distance_between_positions(name, options, shape, expected):
  levels = pyramid(create_model(name, **options), shape)
  assert [(m.name, m.stride, m.channels) for m in levels] == expected


def test_odd_sizes():
  maps = pyramid(create_model("resnet20", blocks=1), (33, 35, 3))
  assert [(m.stride, m.size) for m in maps] == [(1, (33, 35)), (2, (17, 18)), (4, (9, 9))]
  for found in maps:
    assert found.size == tuple(-(-side // found.stride) for side in (33, 35))


def test_the_last_map_is_what_the_classifier_reads():
  net = create_model("preresnet110", blocks=1, width=0.25)
  x = jax.random.normal(jax.random.key(3), (2, 8, 8, 3))
  variables = testing.initial(net, x.shape)
  _, feats = jax.jit(lambda v, x: net.apply(v, x, train=False))(variables, x)
  last = feature_maps(net, (8, 8, 3))[-1]
  assert last == FeatureMap("last_map", 4, 16, (2, 2))
  assert jnp.allclose(feats[last.name].mean((1, 2)), feats["pre_logits"], atol=1e-6)


def test_a_network_without_maps_is_refused():
  class Flat(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      x = x.reshape(x.shape[0], -1)
      return nn.Dense(2)(x), {"pre_logits": x}

  with pytest.raises(ConfigError, match="Flat has no spatial maps"):
    feature_maps(Flat(), (8, 8, 3))


def test_every_family_is_tiny():
  assert set(TINY) <= set(FAMILIES)
