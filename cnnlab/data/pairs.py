"""Folders of images with a label map each: `<root>/images/<split>/x.jpg`, `<root>/labels/<split>/x.png`.

Without folders for the splits, `images` and `labels` hold the files themselves. A label map is a PNG
file of the image's size, palette or gray, whose values are the numbers of the lines of
`<root>/classes.txt`, from 0; 255 is ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import listing
from cnnlab.data.features import IGNORED_LABEL, Example, Feature, Features, fit_label_map
from cnnlab.data.folder import FolderSource
from cnnlab.data.images import SUFFIXES, BadImage, Size, decode, decode_labels, image_size
from cnnlab.errors import DataError, printable

CLASSES_FILE = "classes.txt"
LAYOUT = (
  "such a folder holds images/train/x.jpg, labels/train/x.png, the same for val, and classes.txt"
)


@dataclasses.dataclass(frozen=True)
class PairSource:
  """Pairs of one split, sorted by name.

  Attributes:
    images, maps: files of the images and of their label maps, in the same order.
    class_names: by the values in the label maps.
  """

  images: FolderSource
  maps: FolderSource
  class_names: tuple[str, ...]
  parallel_reads: bool = True

  @property
  def name(self) -> str:
    """What errors call it."""
    return f"pairs:{self.images.root}"

  @property
  def features(self) -> Features:
    """What its examples hold."""
    return {
      "image": Feature("image", (None, None, 3), "uint8"),
      "labels": Feature("label_map", (None, None), "uint8", self.class_names),
    }

  def __len__(self) -> int:
    return len(self.images)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    return None

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self.images.size()

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    return ["pairs", self.class_names, self.images.fingerprint(), self.maps.fingerprint()]

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    return [self._read_one(int(index), size, channels) for index in indices]

  def _read_one(self, index: int, size: Size | None, channels: int) -> Example | BadImage:
    path = Path(self.maps.root, self.maps.files[index])
    try:
      image = decode(Path(self.images.root, self.images.files[index]), size, channels)
      labels = decode_labels(path)
    except BadImage as error:
      return error
    strange = labels[(labels >= len(self.class_names)) & (labels != IGNORED_LABEL)]
    if strange.size:
      raise DataError(
        f"{path}: {strange.size} pixels have the label {strange[0]}; allowed: 0 to "
        f"{len(self.class_names) - 1}, the lines of {CLASSES_FILE}, and {IGNORED_LABEL} (ignored)"
      )
    return {"image": image, "labels": fit_label_map(labels, size)}

  def check_sizes(self) -> None:
    """Raises DataError where a label map has another size than its image."""
    with ThreadPoolExecutor() as pool:
      for message in pool.map(self._misfit, range(len(self)), chunksize=64):
        if message:
          raise DataError(message)

  def _misfit(self, index: int) -> str:
    image, labels = (Path(source.root, source.files[index]) for source in (self.images, self.maps))
    try:
      size, own = (image_size(path, decoding=False) for path in (image, labels))
    except DataError:  # reading it in earnest will tell
      return ""
    if size == own:
      return ""
    return (
      f"{labels} has {own[0]}x{own[1]} pixels and its image {image} {size[0]}x{size[1]}; allowed: "
      "the same size"
    )


def open_pairs(
  root: str, train_split: str, eval_split: str
) -> PairSource | tuple[PairSource, PairSource]:
  """Opens a folder of pairs.

  Args:
    root: the folder.
    train_split: name of the training folder in `images` and `labels`; '' = 'train' where there is one.
    eval_split: of the evaluation folder; '' = 'val', 'validation' or 'test'.

  Returns:
    (train, eval); or the one source that has it all, where there is one split only.

  Raises:
    DataError: a folder or file is missing or cannot be used; it is named.
  """
  place = listing.existing_folder(root, "data.name", LAYOUT)
  names = _class_names(place / CLASSES_FILE)
  images = place / "images"
  if not images.is_dir() or not (place / "labels").is_dir():
    missing = "labels" if images.is_dir() else "images"
    raise DataError(f"data.name: {place} has no folder {missing!r}; {LAYOUT}")
  folders = [entry.name for entry in listing.entries(images) if listing.is_folder(entry)]
  if not folders and not train_split and not eval_split:
    return _split(place, ".", names)
  splits = listing.chosen_splits(folders, train_split, eval_split, f"folders in {images}")
  train, *rest = (_split(place, split, names) for split in splits)
  return (train, rest[0]) if rest else train


def _class_names(path: Path) -> tuple[str, ...]:
  """Returns the names of the classes, one from each line of a text file."""
  names = tuple(map(printable, listing.lines(path)))
  if not 2 <= len(names) <= IGNORED_LABEL:
    raise DataError(f"{path} names {len(names)} classes; allowed: 2 to {IGNORED_LABEL}")
  return names


def _split(place: Path, split: str, names: tuple[str, ...]) -> PairSource:
  """Returns the pairs of a split, all of the same size as each other's halves."""
  images, maps = place / "images" / split, place / "labels" / split
  files, labels = listing.files_by_stem(images, SUFFIXES), listing.files_by_stem(maps, (".png",))
  if not files:
    raise DataError(f"{images} has no images ({', '.join(SUFFIXES)}); {LAYOUT}")
  for own, other, folder, what in (
    (files, labels, maps, "label map"),
    (labels, files, images, "image"),
  ):
    alone = [file for stem, file in own.items() if stem not in other]
    if alone:
      raise DataError(
        f"{folder} has no {what} for {listing.listed(alone, 5)}: a pair has the same name, and a "
        "label map ends in .png"
      )
  unclassed = np.zeros(len(files), np.int32)
  pictures = FolderSource(str(images), (), tuple(files.values()), unclassed)
  paired = FolderSource(str(maps), (), tuple(labels[stem] for stem in files), unclassed)
  source = PairSource(pictures, paired, names)
  source.check_sizes()
  return source
