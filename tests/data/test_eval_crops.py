"""Several views of an image in evaluation, against crops cut by hand."""

import numpy as np
import pytest

from cnnlab.data.augment import Preprocess
from cnnlab.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), dtype=np.uint8)


def preprocess(crops, image_size=(8, 7), **fields):
  return Preprocess(
    mean=np.array([100, 120, 140], np.float32),
    scale=np.array([50, 60, 70], np.float32),
    stored_size=(12, 10),
    image_size=image_size,
    eval_crops=crops,
    **fields,
  )


def cut(p, corners, size):
  whole = (IMAGES.astype(np.float32) - p.mean) / p.scale
  views = [whole[:, t : t + size[0], left : left + size[1]] for t, left in corners]
  return np.stack([*views, *(view[:, :, ::-1] for view in views)])


@pytest.mark.parametrize(
  ("crops", "corners", "size"),
  [
    # AlexNet: the corners, the centre, and their mirror images
    ("ten", [(0, 0), (0, 3), (4, 0), (4, 3), (2, 1)], (8, 7)),
    ("grid2", [(0, 0), (0, 3), (4, 0), (4, 3)], (8, 7)),
    ("grid5", [(t, left) for t in (0, 1, 2, 3, 4) for left in (0, 0, 1, 2, 3)], (8, 7)),
    ("dense", [(0, 0)], (12, 10)),
  ],
)
def test_views(crops, corners, size):
  p = preprocess(crops)
  found = p.eval_views(IMAGES)
  assert found.shape == (2 * len(corners), 3, *size, 3)
  np.testing.assert_allclose(found, cut(p, corners, size), rtol=1e-5, atol=1e-6)


def test_the_centre_is_one_view():
  p = preprocess("center")
  np.testing.assert_array_equal(p.eval_views(IMAGES)[0], p.eval(IMAGES))
  assert len(p.eval_views(IMAGES)) == 1


def test_it_is_stored_with_a_checkpoint():
  p = preprocess("ten")
  assert Preprocess.from_parts(p.settings(), p.arrays()).eval_crops == "ten"
  older = {k: v for k, v in p.settings().items() if k != "eval_crops"}
  assert Preprocess.from_parts(older, p.arrays()).eval_crops == "center"


def test_what_cannot_be():
  with pytest.raises(DataError, match=r"'tenn'.*ten"):
    preprocess("tenn")
  with pytest.raises(DataError, match=r"no room.*data\.resize above data\.image_size"):
    preprocess("ten", image_size=(12, 10))
