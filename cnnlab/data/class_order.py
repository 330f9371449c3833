"""Training batches of P classes with K images each: a function of the seed and the step alone.

Losses that compare the images of a batch need several of each class (arXiv:1703.07737, section 2).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from cnnlab.data.order import BatchOrder
from cnnlab.errors import DataError

_STREAM = 1 << 63  # beside the permutations of epochs, whose keys are small


@dataclasses.dataclass(frozen=True, eq=False)
class ClassOrder(BatchOrder):
  """Training batches that hold `images_per_class` images of each of their classes, side by side.

  Each step draws its classes anew, and the images of each, without repetition. Classes with fewer
  images are not drawn.

  Attributes:
    labels: of the training examples, int [n].
    images_per_class: K; P is the batch size / K.

  Raises:
    DataError: the batch cannot be filled in this way.
  """

  labels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
  images_per_class: int = 1

  def __post_init__(self) -> None:
    """Raises DataError, as the class says."""
    super().__post_init__()
    size, each = self.batch_size, self.images_per_class
    if size % each:
      raise DataError(
        f"'batch_size' is {size}; with data.images_per_class={each} it must be a multiple of that"
      )
    if size // each > len(self._members):
      raise DataError(
        f"'batch_size' {size} with data.images_per_class={each} needs {size // each} classes; the "
        f"training split has {len(self._members)} with that many images or more"
      )

  @functools.cached_property
  def _members(self) -> list[np.ndarray]:
    """The examples of each class that has enough."""
    order = np.argsort(self.labels, kind="stable").astype(np.int32)
    _, starts = np.unique(self.labels[order], return_index=True)
    return [own for own in np.split(order, starts[1:]) if len(own) >= self.images_per_class]

  def train(self, step: int, num_examples: int) -> np.ndarray:
    """Returns this host's examples of a training step, int32."""
    # Raw bits and a stable sort, which no version of NumPy changes.
    bits = np.random.Philox(key=np.array([self.seed, _STREAM | step], np.uint64))

    def drawn(most: int, count: int) -> np.ndarray:
      return np.argsort(bits.random_raw(most), kind="stable")[:count]

    classes = drawn(len(self._members), self.batch_size // self.images_per_class)
    rows = [self._members[c] for c in classes]
    return self._own(np.concatenate([own[drawn(len(own), self.images_per_class)] for own in rows]))
