"""Proposals: recall against a loop; objects of one color are found; windows cover an image."""

import numpy as np
import pytest

from cnnlab.data.scenes import open_scenes
from cnnlab.proposals.recall import recall, recalled
from cnnlab.proposals.selective_search import selective_search
from cnnlab.proposals.windows import windows

pytest.importorskip("skimage")


def boxes(random, count, size=50):
  low = random.uniform(0, size - 2, (count, 2))
  return np.concatenate([low, low + random.uniform(0.5, 20, (count, 2))], 1).astype(np.float32)


def loop_recalled(proposals, objects, overlap):
  found = []
  for o in objects.astype(float):
    best = 0.0
    for p in proposals.astype(float):
      height, width = min(o[2], p[2]) - max(o[0], p[0]), min(o[3], p[3]) - max(o[1], p[1])
      shared = max(height, 0) * max(width, 0)
      union = (o[2] - o[0]) * (o[3] - o[1]) + (p[2] - p[0]) * (p[3] - p[1]) - shared
      best = max(best, shared / union)
    found.append(best >= overlap)
  return found


def test_recall_is_that_of_a_loop():
  random = np.random.default_rng(0)
  images = [(boxes(random, 60), boxes(random, n)) for n in (5, 0, 9, 3)]
  for overlap in (0.3, 0.5):
    table = recall(images, (0, 10, 60), overlap)
    for count in (0, 10, 60):
      wanted = [hit for p, o in images for hit in loop_recalled(p[:count], o, overlap)]
      assert table[count] == (sum(wanted), 17)
    assert table[0].share == 0 < table[10].share < table[60].share < 1
  exact = np.array([[0, 0, 10, 10]], np.float32)
  assert recalled(exact, np.array([[0, 0, 10, 20], [0, 0, 10, 20.1]], np.float32)).tolist() == [
    True,
    False,
  ]
  assert np.isnan(recall([], (5,))[5].share)


def test_each_flat_region_and_the_whole_image_are_proposed():
  image = np.zeros((40, 60, 3), np.uint8)
  regions = {
    (5, 6, 20, 22): (200, 40, 40),
    (10, 30, 35, 50): (40, 60, 220),
    (25, 4, 33, 25): (250, 250, 90),
  }
  for (top, left, bottom, right), color in regions.items():
    image[top:bottom, left:right] = color
  found = {tuple(map(int, box)) for box in selective_search(image, 1000)}
  assert (0, 0, 40, 60) in found
  for region in regions:
    near = [b for b in found if max(abs(x - y) for x, y in zip(b, region, strict=True)) <= 1]
    assert near, f"no box near {region}"


def test_proposals_are_the_same_each_time_distinct_and_within_the_image():
  (scene,) = open_scenes("height=48,width=64,boxes=true")[0].read([3], None, 3)
  found = selective_search(scene["image"], 50)
  np.testing.assert_array_equal(found, selective_search(scene["image"], 50))
  np.testing.assert_array_equal(found[:20], selective_search(scene["image"], 20))
  assert found.shape == (50, 4)
  assert len(np.unique(found, axis=0)) == 50
  assert (found[:, 2:] > found[:, :2]).all()
  assert (found.min(), found[:, 2].max() <= 48, found[:, 3].max() <= 64) == (0, True, True)


def test_gray_images_and_those_of_one_color_are_searched():
  (scene,) = open_scenes("boxes=true")[0].read([0], None, 3)
  assert len(selective_search(scene["image"][..., :1], 30)) == 30
  flat = selective_search(np.full((20, 30, 3), 90, np.uint8), 30)
  assert flat.tolist() == [[0, 0, 20, 30]]


def test_most_digits_on_clutter_are_found():
  """Far more than windows find of the same number."""
  scenes = open_scenes("height=64,width=64,most=4,low=0.12,high=0.75,boxes=true")[1].read(
    range(8), None, 3
  )
  truths = [scene["boxes"][scene["boxes_valid"]] for scene in scenes]
  own = [selective_search(scene["image"], 100) for scene in scenes]
  grid = windows((64, 64), (48, 32, 24, 16, 12, 8))[:100]
  searched = recall(zip(own, truths, strict=True), (100,))[100]
  slid = recall(((grid, one) for one in truths), (100,))[100]
  assert searched.share > 0.8
  assert searched.share > slid.share


def test_windows_cover_the_image_at_every_size_that_fits():
  found = windows((20, 30), (10, 20, 25), step=0.5)
  assert found[0].tolist() == [0, 0, 20, 20]
  sides = found[:, 2:] - found[:, :2]
  assert set(sides.ravel().tolist()) == {10, 20}
  assert len(found) == 2 + 3 * 5
  assert (found[:, 2:].max(0) == [20, 30]).all()
