"""Data sets whose evaluation is on classes that training has not seen, for embeddings.

`unseen:<data set>` is a data set with labels. Where it has two splits, the evaluation split is left
without the examples of classes that the training split has; where it has one, `data.eval_fraction` of
its classes are held out. `data.validation` holds classes out, too.

    data.name = "unseen:tfds:omniglot_small"
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cnnlab.data.sources import Source, Subset
from cnnlab.errors import DataError


@dataclasses.dataclass(frozen=True)
class WholeClasses(Subset):
  """Examples of which a fraction is held out by whole classes."""

  def groups(self) -> np.ndarray:
    """Returns the class of each example, int [n]: a hold-out never divides one."""
    return _labels(self)


def with_unseen_classes(sources: Source | tuple[Source, Source]) -> Source | tuple[Source, Source]:
  """Returns the sources of a data set with whole classes in one split.

  Raises:
    DataError: examples have no label, or every class of the evaluation split is in the training split.
  """
  if not isinstance(sources, tuple):
    return WholeClasses(sources, np.arange(len(sources)))
  train, evaluation = sources
  new = np.flatnonzero(~np.isin(_labels(evaluation), _labels(train)))
  if not len(new):
    raise DataError(
      f"data.name 'unseen:...': {train.name} has every class of {evaluation.name}; set "
      "data.train_split and data.eval_split to splits with classes of their own"
    )
  return WholeClasses(train, np.arange(len(train))), WholeClasses(evaluation, new)


def _labels(source: Source) -> np.ndarray:
  labels = source.labels()
  if labels is None:
    raise DataError(f"data.name 'unseen:...': the examples of {source.name} have no label")
  return labels
