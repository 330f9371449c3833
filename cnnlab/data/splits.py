"""One split of a data set as the train loop sees it, and the kind that lives on the device."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cnnlab.data import order
from cnnlab.data.cache import CacheEntry, cached
from cnnlab.data.features import empty_batch, label_names, stored_arrays
from cnnlab.data.images import BadImage, Size
from cnnlab.data.listing import listed
from cnnlab.data.sources import Source
from cnnlab.errors import DataError

Batch = dict[str, np.ndarray]

_CHUNK = 256


class Split(abc.ABC):
  """Batches of one split, in an order that is a function of (seed, step).

  Attributes:
    num_examples: readable examples.
    skipped: what is wrong with each unreadable one, as 'name: reason'.
    constants: arrays to put on the device once; empty for a streamed split.
    plan: which examples each batch holds.
  """

  def __init__(self, num_examples: int, skipped: list[str], plan: order.BatchOrder):
    self.num_examples = num_examples
    self.skipped = skipped
    self.plan = plan
    self.constants: dict[str, np.ndarray] = {}

  @property
  def num_readable(self) -> int:
    """Examples that an evaluation counts: all but the unreadable ones met so far."""
    return self.num_examples

  @property
  def steps_per_epoch(self) -> int:
    """Whole training batches in an epoch.

    Raises:
      DataError: the batch is larger than the split.
    """
    return order.steps_per_epoch(self.num_examples, self.plan.batch_size)

  @property
  def num_eval_batches(self) -> int:
    """Evaluation batches that cover the split once."""
    return self.plan.num_eval_batches(self.num_examples)

  @abc.abstractmethod
  def train_batches(self, start_step: int = 0) -> Iterator[Batch]:
    """Yields the batches of steps `start_step`, `start_step` + 1, ... without end."""

  @abc.abstractmethod
  def eval_batches(self) -> Iterator[Batch]:
    """Yields batches that cover each example once, with 'mask' bool [batch], False on padding."""

  @abc.abstractmethod
  def gather(self, constants: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """Returns the examples of a batch in their stored form, as arrays [b, ...]; traceable.

    Args:
      constants: `self.constants`, on the device.
      batch: from `train_batches` or `eval_batches`. Its 'mask', where it has one, is kept.
    """

  @abc.abstractmethod
  def examples(self, indices: Sequence[int]) -> Batch:
    """Returns some examples in their stored form, as arrays [indices, ...] on the host.

    Args:
      indices: positions among the readable examples, in the order of `eval_batches`.
    """

  def close(self) -> None:  # noqa: B027, a split without workers has nothing to end
    """Ends worker processes, if there are any."""


class DeviceSplit(Split):
  """All images, decoded once, are constants on the device; a batch is only their indices."""

  def __init__(self, arrays: Batch, skipped: list[str], plan: order.BatchOrder):
    """Initializes the split with the arrays [n, ...] of all its examples."""
    super().__init__(len(next(iter(arrays.values()))), skipped, plan)
    self.constants = dict(arrays)

  def train_batches(self, start_step: int = 0) -> Iterator[Batch]:
    """Yields the batches of steps `start_step`, `start_step` + 1, ... without end."""
    step = start_step
    while True:
      yield {"index": self.plan.train(step, self.num_examples)}
      step += 1

  def eval_batches(self) -> Iterator[Batch]:
    """Yields batches that cover each example once, with 'mask' bool [batch], False on padding."""
    for step in range(self.num_eval_batches):
      indices, mask = self.plan.eval(step, self.num_examples)
      yield {"index": indices, "mask": mask}

  def examples(self, indices: Sequence[int]) -> Batch:
    """Returns some examples in their stored form, as arrays [indices, ...] on the host."""
    return {name: array[np.asarray(indices)] for name, array in self.constants.items()}

  def gather(self, constants: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """Returns the examples of a batch in their stored form, as arrays [b, ...]; traceable."""
    import jax.numpy as jnp

    rest = {name: value for name, value in batch.items() if name != "index"}
    rows = {
      name: jnp.take(array, batch["index"], axis=0, mode="clip")
      for name, array in constants.items()
    }
    return {**rows, **rest}


def check_skipped(skipped: list[str], limit: int, name: str) -> None:
  """Raises DataError, listing them, where more images are unreadable than the config allows."""
  if len(skipped) > limit:
    shown = "\n  ".join(skipped[:10])
    more = f"\n  ... and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    raise DataError(
      f"{name}: {len(skipped)} unreadable image{'s' * (len(skipped) > 1)}, more than "
      f"data.max_bad_images allows ({limit}):\n  {shown}{more}"
    )


def check_classes(source: Source, arrays: Batch) -> None:
  """Raises DataError where unreadable images have left nothing of a class, or nothing at all."""
  labels = source.labels()
  if labels is None:
    lost = [] if len(next(iter(arrays.values()))) else ["any"]
  else:
    names = label_names(source.features)
    lost = [names[i] for i in np.setdiff1d(labels, arrays["label"])]
  if lost:
    raise DataError(f"{source.name}: no image of the class {listed(lost)} can be read")


def decode_all(source: Source, size: Size, channels: int) -> tuple[Batch, list[str]]:
  """Decodes a whole split, or returns it from the cache.

  Returns:
    (the arrays [n, ...] of its examples in their stored form, what is wrong with those left out).
  """
  fingerprint = source.fingerprint()
  if fingerprint is None:
    return _decode_all(source, size, channels)
  stored = stored_arrays(source.features, size, channels)
  key = ["decoded", fingerprint, list(size), channels, {n: list(s) for n, s in stored.items()}]
  return cached(key, lambda: _decode_all(source, size, channels))


def _decode_all(source: Source, size: Size, channels: int) -> CacheEntry:
  arrays = empty_batch(source.features, len(source), size, channels)
  bad: dict[int, str] = {}

  def fill(start: int) -> None:
    indices = range(start, min(start + _CHUNK, len(source)))
    for index, example in zip(indices, source.read(indices, size, channels), strict=True):
      if isinstance(example, BadImage):
        bad[index] = str(example)
        continue
      for name, array in arrays.items():
        array[index] = example[name]

  # Threads help where decoding releases the interpreter lock; they slow TFDS's parsing down.
  threads = (os.cpu_count() or 1) if source.parallel_reads else 1
  with ThreadPoolExecutor(threads) as pool:
    list(pool.map(fill, range(0, len(source), _CHUNK)))
  if bad:
    keep = np.setdiff1d(np.arange(len(source)), list(bad))
    arrays = {name: array[keep] for name, array in arrays.items()}
  return arrays, [bad[index] for index in sorted(bad)]
