"""Scenes composed of real handwriting, with an exact label for each pixel: nothing is downloaded.

Digits that people wrote (scikit-learn's 1,797 of 8x8 pixels) are enlarged to different sizes and
laid, in bright colors of their own, on clutter: a dark gradient with noise, and torn strokes of other
digits, which belong to the background. A pixel has the class of the digit that covers at least half of it.
The two splits have no digit in common. A scene follows from its number and the settings alone, by
integer arithmetic, so that it is the same on every machine.

    data.name = "scenes"
    data.name = "scenes:height=32,width=32,most=2,low=0.3,high=0.5"
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image

from cnnlab.annotations import Between, Count, PositiveFraction, Whole
from cnnlab.data.features import Example, Feature, Features, fit_example
from cnnlab.data.images import BadImage, Size
from cnnlab.data.sources import digits, holdout
from cnnlab.data.transforms import parse
from cnnlab.errors import DataError

BACKGROUND = "background"
VERSION = 1  # of the pictures that settings stand for
_HELD_OUT = 0.3  # of the digits, of which the evaluation split is written
_INK = 128  # of 255: how much of a pixel a stroke must cover to own it
_DARK, _BRIGHT = 96, 144  # of 255: most of a background's color, least of a stroke's
_NOISE = 16
_VISIBLE = 0.5  # share of a digit that later ones must leave uncovered
_TRIES = 20
_SMALLEST = 6  # pixels of a digit that can still be read


@dataclasses.dataclass(frozen=True)
class SceneSettings:
  """What `scenes:key=value,...` sets.

  Attributes:
    train, eval: number of scenes in each split.
    height, width: of a scene in pixels.
    least, most: range of the number of digits in a scene.
    low, high: range of a digit's height, as fractions of the scene's shorter side.
    clutter: torn-off strokes in a scene.
    boxes: whether examples have the digits' boxes and classes too, for detection.
  """

  train: Count = 2000
  eval: Count = 500
  height: Annotated[int, Between(16, 1024)] = 48
  width: Annotated[int, Between(16, 1024)] = 48
  least: Whole = 1
  most: Annotated[int, Between(1, 50)] = 3
  low: PositiveFraction = 0.3
  high: PositiveFraction = 0.55
  clutter: Annotated[int, Between(0, 1000)] = 8
  boxes: bool = False

  def __post_init__(self) -> None:
    """Raises DataError for ranges that are none, and digits that are too small."""
    for low, high in (("least", "most"), ("low", "high")):
      if getattr(self, low) > getattr(self, high):
        raise DataError(
          f"data.name: scenes: {low} is {getattr(self, low)} and {high} is {getattr(self, high)}; "
          f"allowed: {low} up to {high}"
        )
    if self.sides[0] < _SMALLEST:
      raise DataError(
        f"data.name: scenes: low is {self.low}, digits of {self.sides[0]} pixels; allowed: digits of "
        f"{_SMALLEST} pixels and more"
      )

  @property
  def sides(self) -> tuple[int, int]:
    """Height of the smallest and the largest digits in pixels."""
    whole = min(self.height, self.width)
    return round(self.low * whole), round(self.high * whole)


@dataclasses.dataclass(frozen=True)
class SceneSource:
  """One split; see the module."""

  settings: SceneSettings
  split: str
  parallel_reads: bool = False

  @property
  def name(self) -> str:
    """What errors call it."""
    return f"scenes[{self.split}]"

  @property
  def features(self) -> Features:
    """What its examples hold."""
    s = self.settings
    names = tuple(str(digit) for digit in range(10))
    features = {
      "image": Feature("image", (s.height, s.width, 3), "uint8"),
      "labels": Feature("label_map", (s.height, s.width), "uint8", (BACKGROUND, *names)),
    }
    if s.boxes:
      features["boxes"] = Feature("boxes", (s.most, 4), "float32")
      features["box_labels"] = Feature("vector", (s.most,), "int32", names)
    return features

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self.settings.height, self.settings.width

  def __len__(self) -> int:
    return getattr(self.settings, self.split)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    return None

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    return [fit_example(self.scene(int(index)), self.features, size, channels) for index in indices]

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    return ["scenes", VERSION, self.split, dataclasses.asdict(self.settings)]

  @functools.cached_property
  def _ink(self) -> tuple[np.ndarray, np.ndarray]:
    """The digits of this split: uint8 [n, 8, 8] with ink at 255, and their classes."""
    source = digits()
    kept = holdout(source.arrays["label"], _HELD_OUT)[self.split == "eval"]
    return source.arrays["image"][kept, :, :, 0], source.arrays["label"][kept]

  def scene(self, index: int) -> Example:
    """Returns the image, its label map, and the boxes of what is visible of its digits."""
    # The stream of this generator is the same in all versions of NumPy.
    random = np.random.RandomState([VERSION, self.split == "eval", index])
    size, most = (self.settings.height, self.settings.width), self.settings.most
    image = _background(random, size)
    for _ in range(self.settings.clutter):
      ink, _ = self._digit(random)
      down, across = (random.randint(2, 2 + len(ink) // 2) for _ in range(2))
      torn = ink[len(ink) // 2 :][:down, len(ink) // 3 :][:, :across]
      _lay(random, image, torn, _place(random, torn, size))
    owner = np.full(size, -1)  # which digit each pixel belongs to
    classes: list[int] = []
    areas: list[int] = []
    for _ in range(random.randint(self.settings.least, most + 1)):
      for _ in range(_TRIES):
        ink, label = self._digit(random)
        place = _place(random, ink, size)
        part = owner[place]
        hidden = np.bincount(part[(ink >= _INK) & (part >= 0)], minlength=len(areas))
        visible = np.bincount(owner[owner >= 0], minlength=len(areas)) - hidden
        if (visible >= _VISIBLE * np.array(areas)).all():
          part[ink >= _INK] = len(classes)
          _lay(random, image, ink, place)
          classes.append(label)
          areas.append(int((ink >= _INK).sum()))
          break
    values = np.array([*(label + 1 for label in classes), 0])  # the last is that of owner -1
    return {
      "image": image.astype(np.uint8),
      "labels": values[owner].astype(np.uint8),
      "boxes": _boxes(owner, len(classes)),
      "box_labels": np.pad(np.array(classes, np.int32), (0, most - len(classes))),
    }

  def _digit(self, random: np.random.RandomState) -> tuple[np.ndarray, int]:
    """Returns the ink of a digit at a random size, int [side, side] up to 255, and its class."""
    images, labels = self._ink
    index = random.randint(len(images))
    low, high = self.settings.sides
    side = random.randint(low, high + 1)
    enlarged = Image.fromarray(images[index]).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(enlarged).astype(int), int(labels[index])


def open_scenes(rest: str) -> tuple[SceneSource, SceneSource]:
  """Returns the training and the evaluation split of `scenes:<rest>`.

  Raises:
    DataError, ConfigError: an unknown setting, or one that makes no sense.
  """
  settings = parse(f"scenes({rest})", {"scenes": SceneSettings}, "data.name")
  return SceneSource(settings, "train"), SceneSource(settings, "eval")


def _background(random: np.random.RandomState, size: Size) -> np.ndarray:
  """Returns a gradient between four colors, with noise, int [height, width, 3]."""
  corners = random.randint(0, _DARK, (2, 2, 3)).astype(np.uint8)
  smooth = Image.fromarray(corners).resize((size[1], size[0]), Image.Resampling.BILINEAR)
  noise = random.randint(-_NOISE, _NOISE + 1, (*size, 3))
  return (np.asarray(smooth).astype(int) + noise).clip(0, 255)


def _place(random: np.random.RandomState, ink: np.ndarray, size: Size) -> tuple[slice, slice]:
  """Returns where in a scene an array lies, at random."""
  starts = [random.randint(0, most - own + 1) for most, own in zip(size, ink.shape, strict=True)]
  rows, columns = (slice(start, start + own) for start, own in zip(starts, ink.shape, strict=True))
  return rows, columns


def _lay(
  random: np.random.RandomState, image: np.ndarray, ink: np.ndarray, place: tuple[slice, slice]
) -> None:
  """Lays ink over a part of the image, in a bright color."""
  cover, color = ink[..., None], random.randint(_BRIGHT, 256, 3)
  image[place] = (image[place] * (255 - cover) + color * cover + 127) // 255


def _boxes(owner: np.ndarray, count: int) -> np.ndarray:
  """Returns the box of each digit's visible pixels as (ymin, xmin, ymax, xmax), float32 [n, 4]."""
  boxes = np.zeros((count, 4), np.float32)
  for index in range(count):
    rows, columns = np.nonzero(owner == index)
    boxes[index] = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
  return boxes
