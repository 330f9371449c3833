"""The classes of several images, as `Run.predict` returns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Classified:
  """Class probabilities of images; in a notebook it is shown as its table.

  Attributes:
    images: names of the image files, or the positions of images that have none.
    class_names: one per class.
    probabilities: float32 [images, classes].
  """

  images: tuple[str, ...]
  class_names: tuple[str, ...]
  probabilities: np.ndarray

  @property
  def labels(self) -> np.ndarray:
    """The most probable class of each image as a label, int [images]."""
    return self.probabilities.argmax(axis=-1)

  @property
  def classes(self) -> list[str]:
    """The name of the most probable class of each image."""
    return [self.class_names[label] for label in self.labels]

  @property
  def confidences(self) -> np.ndarray:
    """The probability of the most probable class of each image, float32 [images]."""
    return self.probabilities.max(axis=-1)

  @property
  def table(self) -> pd.DataFrame:
    """One row per image: `class`, `confidence`, and the probability of each class by its name."""
    columns = {"class": self.classes, "confidence": self.confidences}
    every = pd.DataFrame(self.probabilities, columns=list(self.class_names))
    return pd.concat([pd.DataFrame(columns), every], axis=1).set_axis(list(self.images))

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self.images)

  def __repr__(self) -> str:
    """Returns the table of classes and confidences as text."""
    columns = {"class": self.classes, "confidence": self.confidences}
    return repr(pd.DataFrame(columns, index=list(self.images)))

  def _repr_html_(self) -> str:
    return self.table.to_html()
