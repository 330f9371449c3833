"""Half of the classes of a data set, `data.name='half:even:tfds:cifar10'` or `half:odd:...`.

Even labels of CIFAR-10 are airplane, bird, deer, frog and ship; odd ones are automobile, cat, dog,
horse and truck. Both halves hold animals and vehicles, and no class is in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.data import DataSettings, Source, register_source
from cnnlab.data.features import Example, Features
from cnnlab.data.images import BadImage, Size
from cnnlab.data.opening import open_sources
from cnnlab.data.sources import Subset
from cnnlab.errors import DataError, unknown

IMPORTS = ("cnnlab.experiments.transfer.halves",)  # what a config has to import for it
HALVES = {"even": 0, "odd": 1}


@dataclasses.dataclass(frozen=True)
class Half(Subset):
  """The examples of every second class of a source, their labels counted anew."""

  @property
  def features(self) -> Features:
    """What its examples hold."""
    label = self.source.features["label"]
    names = tuple(label.names[self._first :: 2])
    return {**self.source.features, "label": dataclasses.replace(label, names=names)}

  @property
  def _first(self) -> int:
    return int(super().labels()[0]) % 2  # type: ignore[index]

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]."""
    whole = super().labels()
    return None if whole is None else whole // 2

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    found = super().read(indices, size, channels)
    return [
      one if isinstance(one, BadImage) else {**one, "label": one["label"] // 2} for one in found
    ]

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    whole = super().fingerprint()
    return None if whole is None else ["half", whole]


def open_half(rest: str, settings: DataSettings) -> tuple[Source, Source]:
  """Returns the training and the evaluation source of half of a data set's classes.

  Raises:
    DataError: what follows `half:` is not `even:` or `odd:` and the name of a data set with labels.
  """
  which, _, name = rest.partition(":")
  if which not in HALVES or not name:
    raise DataError(unknown("half in data.name 'half:<half>:<data set>'", which, HALVES))
  opened = open_sources(dataclasses.replace(settings, name=name))
  return _half(opened.train, HALVES[which]), _half(opened.eval, HALVES[which])


def _half(source: Source, parity: int) -> Half:
  labels = source.labels()
  if labels is None:
    raise DataError(f"{source.name}: its examples have no label, by which to take half of them")
  return Half(source, np.flatnonzero(labels % 2 == parity))


register_source("half", open_half)
