"""From the `data` section of a config to batches: the one place where the parts are put together."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from cnnlab.data import order, sources
from cnnlab.data.augment import Preprocess
from cnnlab.data.cache import cached
from cnnlab.data.images import BadImage, Size
from cnnlab.data.sources import Source, Subset
from cnnlab.data.splits import DeviceSplit, Split, check_skipped, decode_all
from cnnlab.data.statistics import centring_arrays, image_statistics
from cnnlab.errors import DataError, unknown

PLACEMENTS = ("auto", "device", "stream")
STATISTICS_SAMPLE = 10_000  # images of a streamed set that mean and deviation are computed from

_MEGABYTE = 2**20


@dataclasses.dataclass
class Data:
  """A data set, ready for training and evaluation.

  Attributes:
    train: the training split.
    eval: the evaluation split.
    class_names: names of the classes, by label.
    image_shape: (height, width, channels) of the network's input.
    preprocess: turns stored images into the network's input, on the device.
    placement: 'device' or 'stream'.
  """

  train: Split
  eval: Split
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  preprocess: Preprocess
  placement: str

  @property
  def num_classes(self) -> int:
    """Number of classes."""
    return len(self.class_names)

  def close(self) -> None:
    """Ends worker processes, if there are any."""
    self.train.close()
    self.eval.close()


def load(
  config: Any,
  *,
  seed: int,
  batch_size: int,
  eval_batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
) -> Data:
  """Opens a data set as the `data` section of a config asks (keys: `cnnlab/defaults.py`).

  Each key is read only where it matters, so that one without effect is found as unread.

  Args:
    config: attribute access to the section's keys.
    seed: of the order of the training examples.
    batch_size: training examples in a global batch.
    eval_batch_size: evaluation examples in a global batch; the last one is padded and masked.
    process_index: this host's number.
    process_count: number of hosts; each makes its own part of every global batch.

  Raises:
    DataError: the set, a split or an image is missing or unreadable, or does not fit the config.
  """
  plan = order.Plan(seed, batch_size, eval_batch_size, process_index, process_count)
  train, evaluation = _open(config)
  train = _first(train, config.train_examples, "data.train_examples")
  evaluation = _first(evaluation, config.eval_examples, "data.eval_examples")
  stored_size, image_size = _sizes(train, evaluation, config.image_size, config.resize)
  channels = config.channels or train.channels
  if channels not in (1, 3):
    raise DataError(f"data.channels is {channels}; allowed: 1, 3, or 0 for the set's own")
  placement = _placement(config, train, evaluation, stored_size, channels)
  limit = config.max_bad_images if config.name != "digits" else 0
  # Whether `auto` streams depends on the set: asking for workers then is no mistake.
  workers = config.workers if config.placement != "device" else 0

  splits: list[Split] = []
  for source in (train, evaluation):
    if placement == "device":
      arrays, skipped = decode_all(source, stored_size, channels)
      check_skipped(skipped, limit, source.name)
      splits.append(DeviceSplit(arrays["image"], arrays["label"], skipped, plan))
    else:
      from cnnlab.data.stream import StreamSplit

      splits.append(StreamSplit(source, stored_size, channels, workers, limit, plan))
  order.steps_per_epoch(splits[0].num_examples, batch_size)

  mean, scale = centring_arrays(
    config.centring,
    lambda: config.scale,
    functools.partial(_statistics, train, splits[0], stored_size, channels),
    channels,
  )
  padding = config.crop_padding
  preprocess = Preprocess(
    mean=mean,
    scale=scale,
    stored_size=stored_size,
    image_size=image_size,
    crop_padding=padding,
    pad_mode=config.pad_mode if padding else "constant",
    flip=config.flip,
    eval_crops=config.eval_crops,
  )
  shape = (*image_size, channels)
  return Data(splits[0], splits[1], train.class_names, shape, preprocess, placement)


def outline(config: Any) -> tuple[tuple[int, int, int], tuple[str, ...]]:
  """Returns the (height, width, channels) that a network would see, and the class names.

  The set is opened, but no image is decoded.

  Args:
    config: the `data` section, as for `load`.

  Raises:
    DataError: as in `load`, for what can be told without reading images.
  """
  train, evaluation = _open(config)
  _, (height, width) = _sizes(train, evaluation, config.image_size, config.resize)
  return (height, width, config.channels or train.channels), train.class_names


def _open(config: Any) -> tuple[Source, Source]:
  """Returns the sources of the training and the evaluation split."""
  kind, _, rest = str(config.name).partition(":")
  if kind == "digits" and not rest:
    return _held_out(sources.digits(), config.eval_fraction)
  if kind == "tfds" and rest:
    return _open_tfds(rest, config)
  if kind == "folder" and rest:
    from cnnlab.data.folder import open_folder

    opened = open_folder(rest, config.train_split, config.eval_split)
    return opened if isinstance(opened, tuple) else _held_out(opened, config.eval_fraction)
  allowed = ["digits", "folder:<path>", "tfds:<name>"]
  if config.dir:
    from cnnlab.data.tfds import prepared_sets

    allowed += [f"tfds:{name}" for name in prepared_sets(config.dir)]
  raise DataError(unknown("data set", str(config.name), allowed))


def _open_tfds(name: str, config: Any) -> tuple[Source, Source]:
  from cnnlab.data import tfds

  opened = tfds.TfdsSet(name, config.dir)
  train = config.train_split or opened.usual(tfds.USUAL_TRAIN, "data.train_split")
  if len(opened.splits) == 1 and not config.eval_split:
    return _held_out(opened.source(train), config.eval_fraction)
  evaluation = config.eval_split or opened.usual(tfds.USUAL_EVAL, "data.eval_split")
  return opened.source(train), opened.source(evaluation)


def _held_out(source: Source, fraction: float) -> tuple[Source, Source]:
  train, evaluation = sources.holdout(source.labels(), fraction)
  return Subset(source, train), Subset(source, evaluation)


def _first(source: Source, count: int, key: str) -> Source:
  if not count:
    return source
  return Subset(source, sources.balanced_subset(source.labels(), count, key))


def _sizes(train: Source, evaluation: Source, image_size: int, resize: int) -> tuple[Size, Size]:
  """Returns the (height, width) of stored images and of the network's input."""
  for key, side in (("data.image_size", image_size), ("data.resize", resize)):
    if side < 0:
      raise DataError(f"{key} must not be negative, got {side}")
  if image_size or resize:
    stored, image = (resize or image_size), (image_size or resize)
    return (stored, stored), (image, image)
  size, other = train.size(), evaluation.size()
  if size is None or size != other:
    raise DataError(
      f"the images of {train.name} differ in size: set data.image_size to the side in pixels "
      "that the network is to see"
    )
  return size, size


def _placement(config: Any, train: Source, evaluation: Source, size: Size, channels: int) -> str:
  if config.placement not in PLACEMENTS:
    raise DataError(unknown("data.placement", config.placement, PLACEMENTS))
  if config.placement != "auto":
    return config.placement
  largest = max(len(train), len(evaluation)) * size[0] * size[1] * channels
  return "device" if largest <= config.device_limit_mb * _MEGABYTE else "stream"


def _statistics(source: Source, split: Split, size: Size, channels: int) -> dict[str, np.ndarray]:
  """Returns the statistics of the training split, of an even sample where it is streamed."""
  images = split.constants.get("image")

  def compute() -> tuple[dict[str, np.ndarray], None]:
    return image_statistics(_sample(source, size, channels) if images is None else images), None

  fingerprint = source.fingerprint()
  if fingerprint is None:
    return compute()[0]
  kind = "sample" if images is None else "all"
  return cached(["statistics", kind, fingerprint, list(size), channels], compute)[0]


def _sample(source: Source, size: Size, channels: int) -> np.ndarray:
  count = min(len(source), STATISTICS_SAMPLE)
  indices = np.arange(count) * len(source) // count
  examples = source.read(indices.tolist(), size, channels)
  return np.stack([e["image"] for e in examples if not isinstance(e, BadImage)])
