"""What `cnnlab look` looks at, what is wished, and what is found: shared by its methods."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.data.given import fitted, image_files
from cnnlab.data.images import decode, image_size
from cnnlab.errors import ConfigError, printable
from cnnlab.inspect.network import require_map, stride_of
from cnnlab.runs.trained import Trained
from cnnlab.train.restore import restored
from cnnlab.types import Json

MOST_IMAGES = 24  # rows of a figure


@dataclasses.dataclass(frozen=True)
class Wishes:
  """What a user asks for; see `cnnlab look --help`. None and () leave it to the method."""

  stage: str | None = None
  count: int = 6
  examples: int = 256
  epsilons: tuple[float, ...] = ()
  units: tuple[int, ...] = ()
  per_image: int = 1
  classes: tuple[str, ...] = ()
  size: int | None = None
  style: str | None = None
  style_weight: float | None = None
  variation: float | None = None
  steps: int | None = None
  octaves: int | None = None
  jitter: int | None = None


class Images(NamedTuple):
  """Images as a run stores them.

  Attributes:
    names: what stands beside each.
    stored: uint8 [images, height, width, channels].
    labels: int [images], where they are known.
  """

  names: list[str]
  stored: np.ndarray
  labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Found:
  """What is to be written, by the names of the files.

  Attributes:
    strict: whether what a network does not allow is an error; otherwise it is told and left out.
    figures, tables, arrays: of each file.
    pictures: images alone, uint8 [height, width, 1 or 3].
  """

  strict: bool = True
  figures: dict[str, Figure] = dataclasses.field(default_factory=dict)
  tables: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
  arrays: dict[str, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
  pictures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @contextlib.contextmanager
  def attempt(self, what: str) -> Iterator[None]:
    """Inside, a ConfigError counts as `strict` says."""
    try:
      yield
    except ConfigError as error:
      if self.strict:
        raise
      print(printable(f"left out: {what}: {error}"))


@dataclasses.dataclass(frozen=True)
class Subject:
  """A trained network and the images that are looked at.

  Attributes:
    workdir: its run or checkpoint directory.
    trained: the network.
    given: image files and folders; of the evaluation split where there are none.
    overrides: of the keys of `data`, for that split.
    wishes: of the user.
  """

  workdir: str
  trained: Trained
  given: tuple[str, ...] = ()
  overrides: Json = dataclasses.field(default_factory=dict)
  wishes: Wishes = Wishes()

  @property
  def shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the network's input."""
    return (*self.trained.preprocess.image_size, self.trained.preprocess.channels)

  @property
  def class_names(self) -> tuple[str, ...]:
    """Of the network's classes; () if it has none."""
    return tuple(getattr(self.trained.task, "class_names", ()))

  @cached_property
  def stage(self) -> str:
    """The map among the stages that is asked for, the last by default."""
    return require_map(self.trained, self.shape, self.wishes.stage)

  @property
  def layer(self) -> str:
    """A stage or the path of a module, the last stage by default; not every name is one."""
    return self.wishes.stage or self.stage

  @cached_property
  def images(self) -> Images:
    """The images that rows of figures are made of: those given, or some of the evaluation split."""
    if not self.given:
      return self.from_split(self.wishes.count)
    found = self.every_given(MOST_IMAGES + 1)
    if len(found.names) > MOST_IMAGES:
      raise ConfigError(f"more than {MOST_IMAGES} images are given; allowed: 1 to {MOST_IMAGES}")
    return found

  def every_given(self, most: int) -> Images:
    """Returns up to `most` of the images that are given."""
    preprocess = self.trained.preprocess
    each = fitted(list(self.given), preprocess.stored_size, preprocess.channels)
    found = list(itertools.islice(each, most))
    return Images([Path(one.name).name for one in found], np.stack([one.stored for one in found]))

  def from_split(self, count: int) -> Images:
    """Returns up to `count` evenly spaced examples of the evaluation split.

    Raises:
      ConfigError: they are no images.
    """
    with restored(self.workdir, self.overrides) as run:
      split = run.setup.data.eval
      count = min(count, split.num_examples)
      indices = (np.arange(count) * split.num_examples // count).tolist()
      examples = split.examples(indices)
    if "image" not in examples:
      raise ConfigError("the run's data set has no feature 'image'; give images")
    labels = np.asarray(examples["label"]) if "label" in examples and self.class_names else None
    names = [f"example {i}" for i in indices]
    if labels is not None:
      names = [f"{n}: {self.class_names[i]}" for n, i in zip(names, labels, strict=True)]
    return Images(names, np.asarray(examples["image"]), labels)

  def seen(self, stored: np.ndarray) -> np.ndarray:
    """Returns the part of stored images that the network sees."""
    (top, left), (height, width) = self.trained.preprocess.center, self.shape[:2]
    return stored[:, top : top + height, left : left + width]

  def pictures(self) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and whole images, uint8 [height, width, channels], of their own aspect ratio.

    Images that are given have the shorter side that is wished, or that of the run's images.
    """
    if not self.given:
      yield from zip(self.images.names, self.images.stored, strict=True)
    for path in itertools.chain.from_iterable(map(image_files, self.given)):
      yield Path(path).stem, self.read(path)

  def read(self, path: str) -> np.ndarray:
    """Returns an image file as `pictures` yields them; a little is cropped so that the size fits.

    Raises:
      DataError: it cannot be read.
    """
    sides = image_size(path)
    scale = (self.wishes.size or min(self.trained.preprocess.stored_size)) / min(sides)
    height, width = (
      max(1, round(side * scale / stride)) * stride
      for side, stride in zip(sides, stride_of(self.trained, self.shape), strict=True)
    )
    return decode(path, (height, width), self.shape[2])


def resized(trained: Trained, size: int) -> Trained:
  """Returns a run's network for square images of another size.

  Raises:
    ConfigError: the run subtracts a mean image.
  """
  preprocess = trained.preprocess
  if preprocess.mean.ndim > 1:
    height, width = preprocess.mean.shape[:2]
    raise ConfigError(
      f"--size is {size}; the run subtracts a mean image of {height}x{width} pixels, so that it takes "
      "images of that size only"
    )
  fitting = dataclasses.replace(preprocess, stored_size=(size, size), image_size=(size, size))
  return dataclasses.replace(trained, preprocess=fitting)
