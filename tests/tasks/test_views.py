"""Label maps predicted from several views, against a loop that asks for each view."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import linen as nn

from cnnlab.data import Preprocess
from cnnlab.errors import ConfigError, DataError
from cnnlab.tasks import Classification
from cnnlab.tasks.views import require_cover, segment_views

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 10, 12, 3), dtype=np.uint8)


class Net(nn.Module):
  """Two convolutions that see a little of the surroundings."""

  @nn.compact
  def __call__(self, x, *, train):
    """Returns logits of three classes."""
    x = nn.relu(nn.Conv(5, (3, 3), name="a")(x))
    return nn.Conv(3, (3, 3), name="b")(x), {}


@pytest.fixture(scope="module")
def net():
  model = Net()
  variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
  return model, jax.tree.map(lambda a: 3 * a, variables)


def preprocess(crops, scales=(1.0,), image_size=(6, 8)):
  return Preprocess(
    mean=np.float32([100, 120, 140]),
    scale=np.float32([50, 60, 70]),
    stored_size=(10, 12),
    image_size=image_size,
    eval_crops=crops,
    eval_scales=scales,
  )


def looped(net, p, corners, window, mirrored):
  """Averages probabilities crop by crop, pixel by pixel, at the stored size."""
  model, variables = net
  whole = (IMAGES.astype(np.float32) - p.mean) / p.scale
  total, seen = np.zeros((2, 10, 12, 3)), np.zeros((10, 12, 1))
  for top, left in corners:
    part = np.s_[:, top : top + window[0], left : left + window[1]]
    for turn in (1, -1) if mirrored else (1,):
      logits, _ = model.apply(variables, whole[part][:, :, ::turn], train=False)
      total[part] += scipy.special.softmax(np.asarray(logits), -1)[:, :, ::turn]
      seen[part[1:]] += 1
  return total / seen


GRID = [(t, left) for t in (0, 2, 4) for left in (0, 2, 4)]
TEN = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]


@pytest.mark.parametrize(
  ("crops", "corners", "window", "mirrored"),
  [
    ("whole", [(0, 0)], (10, 12), False),
    ("dense", [(0, 0)], (10, 12), True),
    ("grid3", GRID, (6, 8), True),
    ("ten", TEN, (6, 8), True),
  ],
)
def test_probabilities_are_averaged_at_each_pixel(net, crops, corners, window, mirrored):
  p = preprocess(crops)
  out = jax.jit(lambda images: segment_views(*net, p, images))(IMAGES)
  want = looped(net, p, corners, window, mirrored)
  np.testing.assert_allclose(jax.nn.softmax(out), want, atol=1e-5)


def test_scales_are_averaged(net):
  """A scale of 2 of an image of equal pixels in pairs, by a network that sees one pixel."""
  model = nn.Sequential([nn.Dense(3)])

  class Pointwise(nn.Module):
    def apply(self, variables, x, *, train):
      return model.apply(variables, x), {}

  variables = model.init(jax.random.key(1), jnp.zeros((1, 1, 1, 3)))
  flat = np.broadcast_to(IMAGES[:, :1, :1], IMAGES.shape)
  one, both = (
    segment_views(Pointwise(), variables, preprocess("whole", scales), flat)
    for scales in ((1.0,), (0.5, 1.0, 2.0))
  )
  np.testing.assert_allclose(both, one, atol=1e-4)
  several = segment_views(*net, preprocess("whole", (0.5, 1.0)), IMAGES)
  half = jax.image.resize(
    (IMAGES - np.float32([100, 120, 140])) / np.float32([50, 60, 70]), (2, 5, 6, 3), "bilinear"
  )
  small = jax.nn.softmax(net[0].apply(net[1], half, train=False)[0])
  want = jax.image.resize(small, (2, 10, 12, 3), "bilinear") / 2
  want += jax.nn.softmax(segment_views(*net, preprocess("whole"), IMAGES)) / 2
  np.testing.assert_allclose(jax.nn.softmax(several), want, atol=1e-5)


def test_crops_must_cover_an_image():
  require_cover(preprocess("grid2"))
  with pytest.raises(
    ConfigError, match=r"'grid2', whose crops of 4x4 leave pixels .* 10x12 unseen"
  ):
    require_cover(preprocess("grid2", image_size=(4, 4)))
  with pytest.raises(ConfigError, match="of 20x24 unseen"):
    require_cover(preprocess("grid2", (1.0, 2.0)))


def test_what_is_for_label_maps_is_refused_for_classes():
  with pytest.raises(DataError, match=r"data\.eval_scales is .*set data\.eval_crops to 'whole'"):
    preprocess("center", (0.5, 1.0))
  for one in (preprocess("whole"), preprocess("dense", (0.5, 1.0))):
    with pytest.raises(ConfigError, match="for label maps"):
      Classification(("a", "b")).evaluate(Net(), {}, one, {"image": IMAGES})


def test_the_view_of_a_whole_image_is_all_of_it():
  assert preprocess("whole").view((20, 24)).box == (0, 0, 20, 24)
  assert preprocess("center").view((20, 24)).box == (4, 4, 16, 20)
  examples = {"image": IMAGES, "count": np.arange(2)}
  assert preprocess("whole").seen(examples)["image"].shape == IMAGES.shape
  np.testing.assert_array_equal(preprocess("center").seen(examples)["image"], IMAGES[:, 2:8, 2:10])
