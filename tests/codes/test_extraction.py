"""Codes are what the network makes of each image, and are computed once for the same weights and images."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnlab import codes, runs
from cnnlab.codes import extraction
from cnnlab.data import from_arrays, opening, register_source
from cnnlab.errors import ConfigError, DataError
from cnnlab.runs import Run
from tests.conftest import keep_compiled


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
  cache = tmp_path / "cache"
  cache.mkdir(mode=0o700)
  keep_compiled(cache)
  monkeypatch.setenv("CNNLAB_CACHE", str(cache))


@pytest.fixture
def patterns(monkeypatch):
  """Registers images of three classes as `patterns`; returns a function that makes other ones."""
  monkeypatch.setattr(opening, "_registered", dict(opening._registered))

  def made(seed, size=8):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (30, size, size), np.uint8)
    register_source("patterns", from_arrays(images, np.arange(30) % 3), replace=True)
    return images

  return made


def computed(monkeypatch):
  """Returns a list that gets an element for each split whose codes are computed."""
  calls, make = [], extraction._made
  monkeypatch.setattr(extraction, "_made", lambda *a: calls.append(1) or make(*a))
  return calls


@pytest.mark.parametrize("grid", [0, 1, 2])
def test_they_are_the_stage_of_the_network_averaged_over_regions(digits_run, patterns, grid):
  images = patterns(0)
  overrides = {"data.name": "patterns", "eval_batch_size": 7}
  found = codes.extract(digits_run, "block1", grid=grid, overrides=overrides)
  assert (found.shape, found.class_names) == ((4, 4, 8), ("0", "1", "2"))
  run = runs.load(digits_run)
  with codes.opened(digits_run, overrides) as extractor:
    seen = extractor.loaded.eval.examples(range(6))["image"]
  assert all(any((one[..., 0] == image).all() for image in images) for one in seen)
  stage = np.asarray(run.model.apply(run.variables, run.preprocess(seen), train=False)[1]["block1"])
  side = grid or 4
  cells = stage.reshape(6, side, 4 // side, side, 4 // side, 8).mean((2, 4)).reshape(6, -1)
  np.testing.assert_allclose(found.eval.codes, cells, rtol=1e-4, atol=1e-5)
  assert len(found.train.codes) == len(found.train.labels) == 24


def test_they_are_computed_anew_for_other_weights_images_and_layers(
  digits_run, patterns, monkeypatch
):
  patterns(0)
  calls = computed(monkeypatch)
  overrides = {"data.name": "patterns"}

  def extract(layer="block1", grid=1):
    before = len(calls)
    found = codes.extract(digits_run, layer, grid=grid, overrides=overrides)
    return found.train.codes, len(calls) - before

  first, count = extract()
  assert count == 2
  again, count = extract()
  assert count == 0
  np.testing.assert_array_equal(again, first)
  assert [extract("block2")[1], extract(grid=2)[1], extract()[1]] == [2, 2, 0]
  patterns(1)
  assert extract()[1] == 2
  trained = runs.load(digits_run).trained
  variables = jax.tree.map(lambda leaf: leaf, trained.variables)
  variables["params"]["block1_conv1"]["kernel"] = (
    variables["params"]["block1_conv1"]["kernel"] + 1e-3
  )
  monkeypatch.setattr(Run, "trained", dataclasses.replace(trained, variables=variables))
  other, count = extract()
  assert count == 2
  assert not np.array_equal(other, first)


def test_images_are_fitted_to_the_trained_size(digits_run, patterns):
  patterns(0, size=12)
  name = {"data.name": "patterns"}
  assert codes.extract(digits_run, "block1", overrides=name).shape == (4, 4, 8)
  with pytest.raises(ConfigError, match=r"weights for images of \(8, 8\) alone, not of \(12, 12\)"):
    codes.extract(digits_run, overrides=name | {"data.image_size": 12})


def test_the_run_s_own_data_are_the_default(digits_run):
  own = codes.extract(digits_run)
  assert own.layer == "pre_logits"
  assert len(own.eval.labels) == len(runs.load(digits_run).examples["label"])
  np.testing.assert_array_equal(own.eval.labels, runs.load(digits_run).examples["label"])


@pytest.mark.parametrize(
  ("layer", "grid", "overrides", "message"),
  [
    ("block3", 1, {}, "unknown stage 'block3' of the network; did you mean 'block2' or 'block1'"),
    ("block1", 5, {}, "grid is 5, and the stage has 4x4 positions; allowed: 0 to 4"),
    ("", 1, {"data.flip": True}, r"'data.flip' has no effect on codes; allowed: data.name"),
    ("", 1, {"data.name": "digits:x"}, "digits"),
    ("", 1, {"data.dir": "x"}, r"data\.dir"),
  ],
)
def test_what_makes_no_sense_is_refused(digits_run, layer, grid, overrides, message):
  with pytest.raises((ConfigError, DataError), match=message):
    codes.extract(digits_run, layer, grid=grid, overrides=overrides)


def test_images_without_a_label_are_refused(digits_run):
  with pytest.raises(DataError, match="have no label to classify codes by"):
    codes.extract(digits_run, overrides={"data.name": "scenes:train=4,eval=4"})


def test_codes_larger_than_the_memory_are_refused(digits_run, monkeypatch):
  monkeypatch.setattr(extraction, "machine_memory", lambda: 1000)
  with pytest.raises(ConfigError, match=r"--layer 'block1': the codes take .* smaller --grid"):
    codes.extract(digits_run, "block1")
