"""Codes of a data set: a layer of a trained network for every image, computed once.

They are kept in the cache of decoded data, under a hash of the compiled program, the weights and
the images. So other weights, pixels, sizes, statistics or code give other codes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.errors import ScopeParamShapeError

from cnnlab import data, native
from cnnlab.capacity import in_words, machine_memory
from cnnlab.config import apply_overrides
from cnnlab.data.cache import CacheEntry, cached
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError, DataError
from cnnlab.models.probe import codes
from cnnlab.runs.loading import load
from cnnlab.runs.trained import Trained, padded
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.restore import config_from_json, for_other_data
from cnnlab.train.settings import Settings
from cnnlab.train.setup import with_statistics

# The keys that decide which images the network sees, and in which size.
DATA_KEYS = (
  "name", "dir", "train_split", "eval_split", "eval_fraction", "train_examples", "eval_examples",
  "image_size", "resize", "max_bad_images", "placement", "device_limit_mb", "workers",
)  # fmt: skip
KEYS = (*(f"data.{key}" for key in DATA_KEYS), "eval_batch_size", "imports")
BATCH_SIZE = 64  # images that go through the network at once, unless `eval_batch_size` is given

Progress = Callable[[int, int], None]


class Part(NamedTuple):
  """The examples of one split.

  Attributes:
    codes: float32 [examples, size].
    labels: int32 [examples].
  """

  codes: np.ndarray
  labels: np.ndarray


class Codes(NamedTuple):
  """A layer of a network for all images of a data set.

  Attributes:
    layer: its name.
    shape: of the layer for one image.
    train, eval: the two splits, in the data set's order.
    class_names: by label.
  """

  layer: str
  shape: tuple[int, ...]
  train: Part
  eval: Part
  class_names: tuple[str, ...]


class Extractor(NamedTuple):
  """A trained network beside a data set; see `opened`.

  Attributes:
    trained: the network, with the data set's sizes and its own statistics.
    loaded: the data set.
  """

  trained: Trained
  loaded: data.Data

  @property
  def last_layer(self) -> str:
    """What the classifier sees; the last map of a network without one."""
    stages = self.trained.stages()
    return "pre_logits" if "pre_logits" in stages else list(stages)[-1]

  def extract(self, layer: str = "", *, grid: int = 1, progress: Progress | None = None) -> Codes:
    """Returns the codes of both splits, from the cache where they are known.

    Args:
      layer: name of a stage, see `Trained.stages`; empty for `last_layer`.
      grid: how a map becomes a vector, see `cnnlab.models.probe.codes`.
      progress: called with (finished images, images in all).

    Raises:
      ConfigError: an unknown layer, a grid that it does not fit on, or codes larger than the memory.
      DataError: an image cannot be read.
    """
    layer = layer or self.last_layer
    forward = self.trained.stage(layer, lambda stage: codes(stage, grid))
    image = jax.ShapeDtypeStruct((1, *self.trained.stored_shape), np.uint8)
    (size,) = jax.eval_shape(forward, self.trained.variables, image).shape[1:]
    counts = [split.num_readable for split in (self.loaded.train, self.loaded.eval)]
    _require_memory(layer, sum(counts) * size * 4)
    program = _digest_of_program(forward, self.trained, image)

    def part(split: data.Split, before: int) -> Part:
      def report(done: int) -> None:
        if progress is not None:
          progress(before + done, sum(counts))

      key = ["codes", program, _digest_of_images(split, self.trained.batch_size)]
      return Part(**cached(key, functools.partial(_made, self.trained, forward, split, report))[0])

    train, evaluated = part(self.loaded.train, 0), part(self.loaded.eval, counts[0])
    return Codes(layer, self.trained.stages()[layer], train, evaluated, self.loaded.class_names)


@contextlib.contextmanager
def opened(
  directory: str | Path, overrides: Mapping[str, Any] | None = None
) -> Iterator[Extractor]:
  """Yields a trained network beside a data set, which is closed at the end.

  Args:
    directory: of a run or a checkpoint; a network without classifier will do.
    overrides: of `KEYS`; without `data.name` the run's own data set is taken. Images are fitted to
      the size that the network was trained with, unless sizes are given.

  Raises:
    RunError: there is no checkpoint that can be read.
    ConfigError: an override of another key.
    DataError: the data set cannot be read, or its images have no label.
  """
  given = dict(overrides or {})
  for key in given:
    if key not in KEYS:
      raise ConfigError(f"config key {key!r} has no effect on codes; allowed: {', '.join(KEYS)}")
  enable_compile_cache()
  trained = load(directory).trained
  config = config_from_json(trained.config)
  if given.get("data.name", config.data.name) != config.data.name:
    # No augmentation or centering of the run's: they need not fit the other data set.
    config = default_config()
    sizes = for_other_data(trained.preprocess)
    if "data.image_size" in given:
      del sizes["data.resize"]  # which may be smaller
    given = sizes | {"data.centering": "none"} | given
  given |= {"batch_size": 1, "accumulate": 1}
  given |= {"init_from": "", "init_head": "keep", "init_statistics": "data"}  # that may be gone
  given = {"eval_batch_size": BATCH_SIZE} | given
  config = apply_overrides(config, given)
  settings = Settings.read(config)
  native.select(settings.run.native)
  size = settings.run.eval_batch_size
  loaded = data.load(settings.data, seed=0, batch_size=1, eval_batch_size=size)
  try:
    settings.refuse_unused(config, overrides or {}, loaded.unused)
    label = loaded.features.get("label")
    if label is None or label.kind != "label":
      raise DataError(
        f"config key 'data.name': the images of {settings.data.name} have no label to classify "
        f"codes by; the set has {', '.join(loaded.features)}"
      )
    preprocess = with_statistics(loaded.preprocess, trained.preprocess)
    saved = dict(trained.config) | {"eval_batch_size": size}
    here = dataclasses.replace(trained, preprocess=preprocess, config=saved)
    _require_size(here, trained)
    yield Extractor(here, loaded)
  finally:
    loaded.close()


def extract(
  directory: str | Path,
  layer: str = "",
  *,
  grid: int = 1,
  overrides: Mapping[str, Any] | None = None,
  progress: Progress | None = None,
) -> Codes:
  """Returns the codes of a data set by a trained network; see `opened` and `Extractor.extract`."""
  with opened(directory, overrides) as extractor:
    return extractor.extract(layer, grid=grid, progress=progress)


def _require_size(here: Trained, trained: Trained) -> None:
  """Raises ConfigError where the network's weights fit images of the trained size alone."""
  try:
    here.stages()
  except ScopeParamShapeError as error:
    size, fitting = (one.preprocess.image_size for one in (here, trained))
    raise ConfigError(
      f"config key 'data.image_size': the network has weights for images of {fitting} alone, not of "
      f"{size}; leave the size out"
    ) from error


def _made(
  trained: Trained, forward: jax.stages.Wrapped, split: data.Split, report: Callable[[int], None]
) -> CacheEntry:
  """Returns the codes and labels of a split."""
  found, labels, done = [], [], 0
  for examples in _batches(split, trained.batch_size):
    stored = examples["image"]
    rows = forward(trained.variables, padded(stored, trained.batch_size))
    found.append(np.asarray(rows)[: len(stored)])
    labels.append(np.asarray(examples["label"], np.int32))
    done += len(stored)
    report(done)
  return {"codes": np.concatenate(found), "labels": np.concatenate(labels)}, None


def _batches(split: data.Split, size: int) -> Iterator[dict[str, np.ndarray]]:
  count = split.num_readable
  for start in range(0, count, size):
    yield split.examples(range(start, min(start + size, count)))


def _digest_of_program(
  forward: jax.stages.Wrapped, trained: Trained, image: jax.ShapeDtypeStruct
) -> str:
  """Returns a hash of what is computed: the program, its constants, the weights, JAX and device."""
  digest = hashlib.sha256(forward.lower(trained.variables, image).as_text().encode())
  digest.update(f"{jax.__version__} {jax.devices()[0].device_kind}".encode())
  constants = trained.preprocess.arrays()
  for path, leaf in jax.tree_util.tree_leaves_with_path((trained.variables, constants)):
    _add(digest, jax.tree_util.keystr(path), leaf)
  return digest.hexdigest()


def _digest_of_images(split: data.Split, size: int) -> str:
  digest = hashlib.sha256()
  for examples in _batches(split, size):
    for name in ("image", "label"):
      _add(digest, name, examples[name])
  return digest.hexdigest()


def _add(digest: Any, name: str, array: Any) -> None:
  value = np.ascontiguousarray(array)
  digest.update(f"{name} {value.dtype} {value.shape}".encode())
  digest.update(value.data.cast("B") if value.size else b"")


def _require_memory(layer: str, size: int) -> None:
  memory = machine_memory()
  if memory is not None and 2 * size > memory:  # a list of batches, then one array
    raise ConfigError(
      f"--layer {layer!r}: the codes take {in_words(2 * size)} of memory; allowed: what fits into "
      f"{in_words(memory)}, such as a map averaged over fewer regions by a smaller --grid"
    )
