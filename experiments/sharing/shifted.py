"""A data set whose images are moved at random, `data.name='shifted:4:tfds:mnist'`: by up to 4 pixels.

Each image has one shift, which depends only on its split and its number. Pixels that come in are 0.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.data import DataSettings, Source, register_source
from cnnlab.data.features import Example, fit_example
from cnnlab.data.images import BadImage, Size
from cnnlab.data.sources import Subset, image_feature
from cnnlab.errors import DataError
from cnnlab.experiments.derived_sets import open_derived

IMPORTS = ("cnnlab.experiments.sharing.shifted",)  # what a config has to import for it


@dataclasses.dataclass(frozen=True)
class Shifted(Subset):
  """All examples of a source with labels, their images moved by `shifts`, int [n, 2], down and right."""

  shifts: np.ndarray

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    # Moved before they are fitted to the size, so that a shift may be a fraction of the new pixels.
    found = super().read(indices, None, channels)
    image = image_feature(self)
    return [
      one
      if isinstance(one, BadImage)
      else fit_example(
        {**one, image: moved(one[image], self.shifts[i])}, self.features, size, channels
      )
      for i, one in zip(indices, found, strict=True)
    ]

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    whole = super().fingerprint()
    shifts = hashlib.sha256(self.shifts.tobytes()).hexdigest()
    return None if whole is None else ["shifted", whole, shifts]


def moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
  """Returns an image [height, width, channels] moved down and right; what comes in is 0."""
  down, right = (int(pixels) for pixels in shift)
  height, width = image.shape[:2]
  out = np.zeros_like(image)
  out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
    max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
  ]
  return out


def open_shifted(rest: str, settings: DataSettings) -> tuple[Source, Source]:
  """Returns the training and the evaluation source of a data set whose images are moved.

  Raises:
    DataError: what follows `shifted:` is not a number of pixels, a colon, and a data set with labels
      and nothing else that lies in the image, such as boxes.
  """
  return open_derived("shifted:4:digits", rest, settings, _shifted)


def _shifted(source: Source, most: int, seed: int) -> Shifted:
  size = source.size()
  kinds = sorted(feature.kind for feature in source.features.values())
  if kinds != ["image", "label"] or size is None or most >= min(size):
    raise DataError(
      f"data.name 'shifted:{most}:...': {source.name} has {', '.join(kinds)} and images of "
      f"{size or 'different sizes'}; allowed: an image and a label, and images of one size over {most}"
    )
  shifts = np.random.default_rng(seed).integers(-most, most, (len(source), 2), endpoint=True)
  return Shifted(source, np.arange(len(source)), shifts)


register_source("shifted", open_shifted)
