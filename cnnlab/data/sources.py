"""What every data set is to the pipeline: numbered examples, their classes, and a fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cnnlab.data.cache import cached
from cnnlab.data.features import Example, Feature, Features, fit_example
from cnnlab.data.images import BadImage, Size
from cnnlab.errors import DataError, unknown


class Source(Protocol):
  """Numbered examples of one split. Must be picklable: worker processes read it."""

  @property
  def parallel_reads(self) -> bool:
    """Whether several threads read faster than one."""

  @property
  def name(self) -> str:
    """What errors call it."""

  @property
  def features(self) -> Features:
    """What its examples hold; see `cnnlab.data.features`."""

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""

  def __len__(self) -> int: ...

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n], without decoding images if it can.

    Splits are stratified by it. None where examples have no single label.
    """

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them.

    With a size, they are fitted to it as in `features.fit_example`.
    """

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where caching gains nothing."""


@runtime_checkable
class Grouped(Protocol):
  """A source whose examples come in groups, such as the moves of a game, which are never divided."""

  def groups(self) -> np.ndarray:
    """Returns the group of each example, int [n]."""


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
  """Examples that are in memory already.

  Attributes:
    name: what errors call it.
    features: what each array is.
    arrays: {feature: array [n, ...]}, and `<name>_valid` for boxes, which are padded.

  Raises:
    DataError: a feature without an array, or arrays of different lengths.
  """

  name: str
  features: Features
  arrays: Mapping[str, np.ndarray]
  parallel_reads: bool = False

  def __post_init__(self) -> None:
    for feature in self.features:
      if feature not in self.arrays:
        raise DataError(f"{self.name}: " + unknown("array for the feature", feature, self.arrays))
    lengths = {key: len(array) for key, array in self.arrays.items()}
    if len(set(lengths.values())) != 1:
      raise DataError(f"{self.name}: arrays hold different numbers of examples: {lengths}")

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    image = self.arrays[image_feature(self)]
    return image.shape[1], image.shape[2]

  def __len__(self) -> int:
    return len(next(iter(self.arrays.values())))

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    feature = self.features.get("label")
    return self.arrays["label"] if feature is not None and feature.kind == "label" else None

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    return [
      fit_example(
        {name: self._value(name, i) for name in self.features}, self.features, size, channels
      )
      for i in indices
    ]

  def _value(self, name: str, index: int) -> Any:
    value = self.arrays[name][index]
    valid = self.arrays.get(f"{name}_valid")
    return value if valid is None else value[valid[index]]

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    return None


def image_feature(source: Source) -> str:
  """Returns the name of a source's image; DataError if it has none."""
  for name, feature in source.features.items():
    if feature.kind == "image":
      return name
  raise DataError(f"{source.name} has no image: its features are {', '.join(source.features)}")


def image_channels(source: Source) -> int:
  """Returns the channels of a source's images as they are stored."""
  return int(source.features[image_feature(source)].shape[2] or 3)


@dataclasses.dataclass(frozen=True)
class Subset:
  """Some examples of another source, in the order of `indices`."""

  source: Source
  indices: np.ndarray

  @property
  def parallel_reads(self) -> bool:
    """Whether several threads read faster than one."""
    return self.source.parallel_reads

  @property
  def name(self) -> str:
    """What errors call it."""
    return self.source.name

  @property
  def features(self) -> Features:
    """What its examples hold."""
    return self.source.features

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self.source.size()

  def __len__(self) -> int:
    return len(self.indices)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    whole = self.source.labels()
    return None if whole is None else whole[self.indices]

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    return self.source.read([int(self.indices[i]) for i in indices], size, channels)

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    whole = self.source.fingerprint()
    if whole is None:
      return None
    digest = hashlib.sha256(self.indices.astype(np.int64).tobytes()).hexdigest()
    return [whole, len(self.indices), digest]


@dataclasses.dataclass(frozen=True)
class GroupedSubset(Subset):
  """Some examples of a source whose examples come in groups."""

  def groups(self) -> np.ndarray:
    """Returns the group of each example, int [n]."""
    assert isinstance(self.source, Grouped)
    return self.source.groups()[self.indices]


def digits() -> ArraySource:
  """Returns scikit-learn's 1,797 handwritten digits, uint8 [1797, 8, 8, 1] scaled to 0..255.

  E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
  """
  # Importing scikit-learn takes over a second; the cache spares it from the second start on.
  arrays, names = cached(["digits", importlib.metadata.version("scikit-learn")], _read_digits)
  features = {
    "image": Feature("image", (8, 8, 1), "uint8"),
    "label": Feature("label", (), "int32", tuple(names)),
  }
  return ArraySource("digits", features, arrays)


def _read_digits() -> tuple[dict[str, np.ndarray], Any]:
  from sklearn.datasets import load_digits

  data = load_digits()
  images = np.round(data.images * (255 / 16)).astype(np.uint8)[..., None]
  names = [str(name) for name in data.target_names]
  return {"image": images, "label": data.target.astype(np.int32)}, names


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
  """Returns for each example how many of its class come before it."""
  order = np.argsort(labels, kind="stable")
  ordered = labels[order]
  ranks = np.empty(len(labels), np.int64)
  ranks[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
  return ranks


def holdout(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
  """Splits examples into (train, eval) indices, the same fraction of every class, ascending.

  The choice is random but fixed: it depends on the labels alone, never on the run's seed, so that
  all runs are judged on the same examples.

  Raises:
    DataError: the fraction leaves one side empty.
  """
  if not 0 < fraction < 1:
    raise DataError(f"data.eval_fraction must lie between 0 and 1, not {fraction}")
  bits = np.random.Philox(key=np.array([0x5EED, 0], np.uint64)).random_raw(len(labels))
  shuffled = np.argsort(bits, kind="stable")
  ranks = np.empty(len(labels), np.int64)
  ranks[shuffled] = _rank_in_class(labels[shuffled])
  sizes = np.bincount(labels)
  quota = np.floor(sizes * fraction + 0.5).astype(np.int64)
  held = ranks < quota[labels]
  if held.all() or not held.any():
    raise DataError(
      f"data.eval_fraction {fraction} of {len(labels)} examples leaves one of the two splits empty"
    )
  return np.flatnonzero(~held), np.flatnonzero(held)


def balanced_subset(
  labels: np.ndarray, count: int, what: str, seed: int | None = None
) -> np.ndarray:
  """Returns the indices, ascending, of the first `count` examples with classes in equal numbers.

  Classes that run out leave their share to the others. With a seed, examples are in an order of its own.

  Raises:
    DataError: there are fewer examples than asked for; `what` names the config key.
  """
  if count < 0 or count > len(labels):
    raise DataError(f"{what} is {count}; the split has {len(labels)} examples (0 takes all)")
  order = np.arange(len(labels))
  if seed is not None:
    bits = np.random.Philox(key=np.array([seed, 0x5EED], np.uint64)).random_raw(len(labels))
    order = np.argsort(bits, kind="stable")
  ordered = labels[order]
  return np.sort(order[np.lexsort((ordered, _rank_in_class(ordered)))[:count]])


def held_out(source: Source, fraction: float) -> tuple[Source, Source]:
  """Returns a source without an evenly divided fraction of its examples, and that fraction.

  Where examples are grouped, it is that fraction of the groups.
  """
  if isinstance(source, Grouped):
    _, group = np.unique(source.groups(), return_inverse=True)
    _, part = holdout(np.zeros(group.max() + 1, np.int64), fraction)
    held = np.isin(group, part)
    return GroupedSubset(source, np.flatnonzero(~held)), GroupedSubset(source, np.flatnonzero(held))
  rest, part = holdout(_strata(source), fraction)
  return Subset(source, rest), Subset(source, part)


def first(source: Source, count: int, what: str, seed: int | None = None) -> Source:
  """Returns the first examples of a source, an equal number of each class; 0 for all of them.

  With a seed, they are drawn by it.

  Raises:
    DataError: it has fewer; `what` names the config key.
  """
  return Subset(source, balanced_subset(_strata(source), count, what, seed)) if count else source


def _strata(source: Source) -> np.ndarray:
  """Returns the labels by which a source is divided evenly; all alike where it has none."""
  labels = source.labels()
  return np.zeros(len(source), np.int32) if labels is None else labels
