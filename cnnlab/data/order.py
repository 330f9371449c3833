"""The order of examples: a function of the seed and the step alone.

Nothing is stored between steps, so a run that resumes at step k sees exactly the batches that it
would have seen without the interruption, on any number of hosts, whatever the placement.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from cnnlab.errors import DataError


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
  # Raw bits and a stable sort: NumPy keeps bit streams fixed between versions, but not the
  # algorithms of `Generator.permutation`.
  key = np.array([seed % 2**64, epoch], dtype=np.uint64)
  bits = np.random.Philox(key=key).random_raw(num_examples)
  order = np.argsort(bits, kind="stable").astype(np.int32)
  order.setflags(write=False)
  return order


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
  """Returns the number of whole batches in an epoch; the remainder is dropped in training.

  Raises:
    DataError: the batch is empty or larger than the data set.
  """
  if batch_size < 1:
    raise DataError(f"batch size must be at least 1, not {batch_size}")
  if batch_size > num_examples:
    raise DataError(
      f"batch of {batch_size} is larger than the training split of {num_examples} examples; "
      f"'batch_size' may be at most {num_examples}"
    )
  return num_examples // batch_size


def train_indices(seed: int, step: int, num_examples: int, batch_size: int) -> np.ndarray:
  """Returns the examples of one training step, int32 [batch_size].

  Each epoch is a fresh permutation of all examples, keyed by the seed and the epoch; what
  remains after its last whole batch is dropped.

  Raises:
    DataError: the batch is empty or larger than the data set.
  """
  per_epoch = steps_per_epoch(num_examples, batch_size)
  epoch, position = divmod(step, per_epoch)
  order = _permutation(seed, epoch, num_examples)
  return order[position * batch_size : (position + 1) * batch_size]


def eval_batch(step: int, num_examples: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns (indices int32 [batch_size], mask bool [batch_size]) of evaluation batch `step`.

  Examples come in their stored order; the last batch is padded with example 0, masked out.
  """
  if batch_size < 1:
    raise DataError(f"evaluation batch size must be at least 1, not {batch_size}")
  indices = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int32)
  mask = indices < num_examples
  return np.where(mask, indices, 0).astype(np.int32), mask


def num_eval_batches(num_examples: int, batch_size: int) -> int:
  """Returns the number of evaluation batches, the padded last one included."""
  return -(-num_examples // batch_size)


def eval_batches(num_examples: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields (indices, mask) that cover each example exactly once; see `eval_batch`."""
  for step in range(num_eval_batches(num_examples, batch_size)):
    yield eval_batch(step, num_examples, batch_size)


@dataclasses.dataclass(frozen=True)
class BatchOrder:
  """Which examples each batch of a split holds, and which of them are this host's.

  Attributes:
    seed: of the training order.
    batch_size: training examples in a global batch, over all hosts.
    eval_batch_size: evaluation examples in a global batch.
    process_index: this host's number.
    process_count: number of hosts; each makes an equal, consecutive part of every batch.
  """

  seed: int
  batch_size: int
  eval_batch_size: int
  process_index: int = 0
  process_count: int = 1

  def __post_init__(self) -> None:
    for name in ("batch_size", "eval_batch_size"):
      size = getattr(self, name)
      if size < 1 or size % self.process_count:
        below = size // self.process_count * self.process_count
        raise DataError(
          f"{name} {size} must be a positive multiple of the number of hosts, "
          f"{self.process_count}; nearest: {max(below, self.process_count)}"
        )

  def _own(self, batch: np.ndarray) -> np.ndarray:
    share = len(batch) // self.process_count
    return batch[self.process_index * share : (self.process_index + 1) * share]

  def train(self, step: int, num_examples: int) -> np.ndarray:
    """Returns this host's part of `train_indices` of a step."""
    return self._own(train_indices(self.seed, step, num_examples, self.batch_size))

  def eval(self, step: int, num_examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns this host's part of `eval_batch` of a step: (indices, mask)."""
    indices, mask = eval_batch(step, num_examples, self.eval_batch_size)
    return self._own(indices), self._own(mask)

  def num_eval_batches(self, num_examples: int) -> int:
    """Returns the number of evaluation batches, the same on every host."""
    return num_eval_batches(num_examples, self.eval_batch_size)
