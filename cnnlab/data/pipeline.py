"""From the `data` section of a config to batches: the one place where the parts are put together."""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import math
from collections.abc import Callable

import numpy as np

from cnnlab.data import order, sources
from cnnlab.data.augment import Preprocess, crop_and_flip
from cnnlab.data.cache import cached
from cnnlab.data.class_order import ClassOrder
from cnnlab.data.features import Features, label_names, stored_arrays
from cnnlab.data.images import BadImage, Size
from cnnlab.data.mixing import MIXES
from cnnlab.data.opening import open_sources
from cnnlab.data.room import require_room
from cnnlab.data.settings import DataSettings, Side
from cnnlab.data.sources import Source, image_channels, image_feature
from cnnlab.data.splits import DeviceSplit, Split, check_classes, check_skipped, decode_all
from cnnlab.data.statistics import centering_arrays, image_statistics, label_counts
from cnnlab.data.transforms import TRANSFORMS, ColorTransform, parse
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
    features: what its examples hold.
    image_shape: (height, width, channels) of the network's input.
    preprocess: turns stored examples into the network's input, on the device.
    placement: 'device' or 'stream'.
    label_counts: from a label or label map to how often each class occurs in each training example,
      int64 [examples, classes]; of an even sample where the set is streamed.
    unused: keys of the data section that had no effect.
  """

  train: Split
  eval: Split
  features: Features
  image_shape: tuple[int, int, int]
  preprocess: Preprocess
  placement: str
  label_counts: Callable[[str], np.ndarray]
  unused: tuple[str, ...] = ()

  @property
  def class_names(self) -> tuple[str, ...]:
    """Names of the classes, by label; empty where examples have none."""
    return label_names(self.features)

  @property
  def num_classes(self) -> int:
    """Number of classes."""
    return len(self.class_names)

  def close(self) -> None:
    """Ends worker processes, if there are any."""
    self.train.close()
    self.eval.close()
    if self.placement == "stream":
      gc.collect()  # batches in cycles: Python would report their shared memory as leaked at exit


def load(
  settings: DataSettings,
  *,
  seed: int,
  batch_size: int,
  eval_batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  whole: bool = False,
) -> Data:
  """Opens a data set as the `data` section of a config asks.

  Args:
    settings: the section.
    seed: of the order of the training examples.
    batch_size: training examples in a global batch.
    eval_batch_size: evaluation examples in a global batch; the last one is padded and masked.
    process_index: this host's number.
    process_count: number of hosts; each makes its own part of every global batch.
    whole: see `cnnlab.data.opening.open_sources`.

  Raises:
    DataError: the set, a split or an image is missing or unreadable, or does not fit the config.
  """
  plan = order.BatchOrder(seed, batch_size, eval_batch_size, process_index, process_count)
  opened = open_sources(settings, whole)
  train, evaluation, what = opened.train, opened.eval, "data.train_examples"
  if settings.validation:
    # Before the training set is cut, so that a few training examples are judged on many others.
    train, evaluation = sources.held_out(train, settings.validation)
    what += f" (beside data.validation={settings.validation:g})"
  train = sources.first(train, settings.train_examples, what, _subset_seed(settings, seed))
  evaluation = sources.first(evaluation, settings.eval_examples, "data.eval_examples")
  stored_size, image_size = _sizes(train, evaluation, settings.image_size, settings.resize)
  channels = settings.channels or image_channels(train)
  if channels not in (1, 3, image_channels(train)):
    raise DataError(f"data.channels is {channels}; allowed: 1, 3, or 0 for the set's own")
  placement = _placement(settings, train, evaluation, stored_size, channels)
  counts = len(train), len(evaluation)
  require_room(settings, counts, (batch_size, eval_batch_size), stored_size, placement)

  splits: list[Split] = []
  for source in (train, evaluation):
    if placement == "device":
      arrays, skipped = decode_all(source, stored_size, channels)
      check_skipped(skipped, settings.max_bad_images, source.name)
      check_classes(source, arrays)
      splits.append(DeviceSplit(arrays, skipped, plan))
    else:
      from cnnlab.data.stream import StreamSplit

      own = settings.workers, settings.max_bad_images, plan
      splits.append(StreamSplit(source, stored_size, channels, *own))
  splits[0].plan = _train_plan(plan, train, splits[0], settings.images_per_class)

  statistics = functools.partial(_statistics, train, splits[0], stored_size, channels)
  if train.features[image_feature(train)].packed:
    mean, scale = np.zeros(channels, np.float32), np.ones(channels, np.float32)
  else:
    mean, scale = centering_arrays(settings.centering, settings.scale, statistics, channels)
  listed = [parse(text, TRANSFORMS, "data.transforms") for text in settings.transforms]
  usual = crop_and_flip(settings.crop_padding, settings.pad_mode, settings.flip)
  # `crop_padding` and `flip` come first, but for the color transforms at the head of the list.
  colors = list(itertools.takewhile(lambda one: isinstance(one, ColorTransform), listed))
  preprocess = Preprocess(
    mean=mean,
    scale=scale,
    stored_size=stored_size,
    image_size=image_size,
    transforms=(*colors, *usual, *listed[len(colors) :]),
    mix=tuple(parse(text, MIXES, "data.mix") for text in settings.mix),
    eval_crops=settings.eval_crops,
    eval_scales=settings.eval_scales,
    features=train.features,
    min_visibility=settings.min_visibility,
  )
  shape = (*image_size, channels)
  unused = (*opened.unused, *_without_effect(settings, train.features))
  counts_of = functools.partial(_label_counts, train, splits[0], stored_size, channels)
  return Data(splits[0], splits[1], train.features, shape, preprocess, placement, counts_of, unused)


def _subset_seed(settings: DataSettings, seed: int) -> int | None:
  """Returns the seed by which `train_examples` are drawn; None for the first ones."""
  return seed if settings.train_examples_by == "seed" else None


def _train_plan(
  plan: order.BatchOrder, source: Source, split: Split, images_per_class: int
) -> order.BatchOrder:
  """Returns the order of training batches, with several images of each of their classes if asked.

  Raises:
    DataError: the split is smaller than a batch, or a batch cannot be filled in this way.
  """
  order.steps_per_epoch(split.num_examples, plan.batch_size)
  if not images_per_class:
    return plan
  labels = split.constants.get("label", source.labels())
  if labels is None:
    raise DataError(
      f"data.images_per_class is {images_per_class}; the examples of {source.name} have no label"
    )
  return ClassOrder(**dataclasses.asdict(plan), labels=labels, images_per_class=images_per_class)


def _without_effect(settings: DataSettings, features: Features) -> list[str]:
  """Returns keys that have no effect because of the values of others, or of what examples hold."""
  unused = [] if settings.crop_padding else ["pad_mode"]
  if not settings.train_examples:
    unused.append("train_examples_by")
  if all(feature.kind != "boxes" for feature in features.values()):
    unused.append("min_visibility")
  if settings.centering in ("symmetric", "none"):
    unused.append("scale")
  # Whether `auto` streams depends on the set: asking for workers then is no mistake.
  if settings.placement == "device":
    unused += ["workers"]
  if settings.placement != "auto":
    unused += ["device_limit_mb"]
  return unused


def outline(settings: DataSettings) -> tuple[tuple[int, int, int], tuple[str, ...]]:
  """Returns the (height, width, channels) that a network would see, and the class names.

  The set is opened, but no image is decoded.

  Args:
    settings: the `data` section, as for `load`.

  Raises:
    DataError: as in `load`, for what can be told without reading images.
  """
  opened = open_sources(settings)
  _, (height, width) = _sizes(opened.train, opened.eval, settings.image_size, settings.resize)
  channels = settings.channels or image_channels(opened.train)
  return (height, width, channels), label_names(opened.train.features)


def _sizes(train: Source, evaluation: Source, image_size: Side, resize: Side) -> tuple[Size, Size]:
  """Returns the (height, width) of stored images and of the network's input."""
  image, stored = _size("data.image_size", image_size), _size("data.resize", resize)
  if image or stored:
    return stored or image, image or stored  # type: ignore[return-value]
  size, other = train.size(), evaluation.size()
  if size is None or size != other:
    raise DataError(
      f"the images of {train.name} differ in size: set data.image_size to the side in pixels "
      "that the network is to see"
    )
  return size, size


def _size(key: str, side: Side) -> Size | None:
  """Returns (height, width); None for 0, the set's own."""
  size = (side, side) if isinstance(side, int) else side
  if min(size) < 0:
    raise DataError(f"{key} must not be negative, got {side}")
  if 0 in size and size != (0, 0):
    raise DataError(f"{key} is {side}; allowed: a side, (height, width), or 0 for the set's own")
  return None if size == (0, 0) else size


def _placement(
  settings: DataSettings, train: Source, evaluation: Source, size: Size, channels: int
) -> str:
  if settings.placement not in PLACEMENTS:
    raise DataError(unknown("data.placement", settings.placement, PLACEMENTS))
  if settings.placement != "auto":
    return settings.placement
  shape, _ = stored_arrays(train.features, size, channels)[image_feature(train)]
  largest = max(len(train), len(evaluation)) * math.prod(shape)
  return "device" if largest <= settings.device_limit_mb * _MEGABYTE else "stream"


def _statistics(source: Source, split: Split, size: Size, channels: int) -> dict[str, np.ndarray]:
  """Returns the statistics of the training split, of an even sample where it is streamed."""
  images = split.constants.get(image_feature(source))

  def compute() -> tuple[dict[str, np.ndarray], None]:
    sampled = _sample(source, image_feature(source), size, channels) if images is None else images
    return image_statistics(sampled), None

  fingerprint = source.fingerprint()
  if fingerprint is None:
    return compute()[0]
  kind = "sample" if images is None else "all"
  return cached(["statistics", kind, fingerprint, list(size), channels], compute)[0]


def _label_counts(source: Source, split: Split, size: Size, channels: int, name: str) -> np.ndarray:
  """Returns how often each class occurs in each training example; see `Data.label_counts`."""
  labels = split.constants.get(name)
  if labels is None:
    labels = _sample(source, name, size, channels)
  return label_counts(labels, len(source.features[name].names))


def _sample(source: Source, name: str, size: Size, channels: int) -> np.ndarray:
  """Returns a feature of an even sample of the examples."""
  count = min(len(source), STATISTICS_SAMPLE)
  indices = np.arange(count) * len(source) // count
  examples = source.read(indices.tolist(), size, channels)
  found = [e[name] for e in examples if not isinstance(e, BadImage)]
  if not found:
    first = next((f": {e}" for e in examples if isinstance(e, BadImage)), "")
    raise DataError(f"{source.name}: none of {count} images of it can be read{first}")
  return np.stack(found)
