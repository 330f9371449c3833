"""Small data sets made on the spot, and the cache kept away from the user's."""

import os

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import DataSettings
from tests.conftest import keep_compiled

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
  place = tmp_path_factory.mktemp("cache")
  keep_compiled(place)
  before = os.environ.get("CNNLAB_CACHE")
  os.environ["CNNLAB_CACHE"] = str(place)
  yield place
  if before is None:
    del os.environ["CNNLAB_CACHE"]
  else:
    os.environ["CNNLAB_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data(shared):
  """The folder with the prepared sets, where the machine has one."""
  root = shared / "data" / "tfds"
  if not (root / "cifar10").is_dir():
    pytest.skip(f"no prepared data sets in {root}")
  return root


@pytest.fixture
def section():
  """Returns a function that makes the settings of a `data` section from keyword overrides."""

  def make(**overrides):
    return DataSettings(**overrides)

  return make


def write_image(path, rng, height, width, channels=3):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
  Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
  return pixels


@pytest.fixture
def folder(tmp_path):
  """train/ with 7 images a class and val/ with 3, of 12x10 pixels; returns the root."""
  rng = np.random.default_rng(0)
  for split, count in (("train", 7), ("val", 3)):
    for name in CLASSES:
      for i in range(count):
        write_image(tmp_path / "set" / split / name / f"{i}.png", rng, 12, 10)
  return tmp_path / "set"
