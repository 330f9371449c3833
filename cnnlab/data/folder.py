"""Image folders: `<root>/<class>/*.png`, or `<root>/train/<class>/...` and `<root>/val/<class>/...`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import listing
from cnnlab.data.features import Example, Feature, Features
from cnnlab.data.images import SUFFIXES, BadImage, Size, decode, image_size
from cnnlab.errors import DataError, printable

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FolderSource:
  """Image files with a class each; three channels unless asked.

  Attributes:
    root: the folder that the files are relative to.
    class_names: by number.
    files: their paths.
    targets: the class of each, int32 [n].
    table: the CSV file that lists them; empty where their folders are the classes.
  """

  root: str
  class_names: tuple[str, ...]
  files: tuple[str, ...]
  targets: np.ndarray
  parallel_reads: bool = True
  table: str = ""

  @property
  def name(self) -> str:
    """What errors call it."""
    return f"csv:{self.table}" if self.table else f"folder:{self.root}"

  @property
  def features(self) -> Features:
    """What its examples hold."""
    return {
      "image": Feature("image", (None, None, 3), "uint8"),
      "label": Feature("label", (), "int32", self.class_names),
    }

  def __len__(self) -> int:
    return len(self.files)

  def labels(self) -> np.ndarray:
    """Returns the class of each example, int32 [n]."""
    return self.targets

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    return self._size

  @functools.cached_property
  def _size(self) -> Size | None:
    sizes: set[Size] = set()
    for file in self.files:
      try:
        sizes.add(image_size(os.path.join(self.root, file), decoding=False))
      # An unreadable file says nothing about the size; reading it in earnest will report it.
      except DataError:
        continue
      if len(sizes) > 1:
        return None
    return next(iter(sizes), None)

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    return [self._read_one(int(index), size, channels) for index in indices]

  def _read_one(self, index: int, size: Size | None, channels: int) -> Example | BadImage:
    try:
      image = decode(os.path.join(self.root, self.files[index]), size, channels)
    except BadImage as error:
      return error
    return {"image": image, "label": int(self.targets[index])}

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    return self._fingerprint

  @functools.cached_property
  def _fingerprint(self) -> Any:
    digest = hashlib.sha256(self.targets.astype(np.int32).tobytes())
    with ThreadPoolExecutor() as pool:
      stats = pool.map(self._stat, self.files, chunksize=64)
      for file, info in zip(self.files, stats, strict=True):
        digest.update(os.fsencode(file) + f"\0{info}\n".encode())
    return ["folder", os.path.abspath(self.root), digest.hexdigest()]

  def _stat(self, file: str) -> str:
    path = os.path.join(self.root, file)
    try:
      info = os.stat(path)
    except OSError:
      return "unreadable"  # a broken link, which may be mended
    return f"{info.st_size}\0{info.st_mtime_ns}"


def _folders(place: Path) -> list[str]:
  """Returns the names of the folders in a folder.

  Raises:
    DataError: the folder cannot be read, or has links that lead nowhere: a class would be lost.
  """
  names = []
  for entry in listing.entries(place):
    if listing.is_folder(entry):
      names.append(entry.name)
    elif entry.is_symlink():
      try:
        os.stat(entry.path)
      except OSError as error:
        raise DataError(
          f"{entry.path} is a link that leads nowhere ({listing.cause(error)}): mend or remove it"
        ) from error
  return names


def _image_files(place: Path) -> list[str]:
  """Returns the names of a class folder's images.

  A pipe, a device or a broken link of such a name is among them: reading it will tell what it is,
  and it counts as unreadable.

  Raises:
    DataError: there is none.
  """
  found, folders = [], []
  for entry in listing.entries(place):
    if listing.is_folder(entry):
      folders.append(entry.name)
    elif entry.name.lower().endswith(SUFFIXES):
      found.append(entry.name)
  inside = f"the folders in it ({listing.listed(folders)}) are not read" if folders else ""
  if not found:
    hint = f"; {inside}" if inside else ""
    raise DataError(
      f"class folder {place} has no images ({', '.join(SUFFIXES)}): fill or remove it{hint}"
    )
  if folders:
    _log.warning("class folder %s: %s", printable(str(place)), printable(inside))
  return found


def read_classes(root: str | os.PathLike[str]) -> FolderSource:
  """Lists the images of a folder of class folders; labels follow the sorted names of the folders.

  Other files, hidden ones, and folders within class folders are left out.

  Raises:
    DataError: no class folder, or one without images, or a folder that cannot be read.
  """
  place = Path(root)
  names = _folders(place)
  if not names:
    raise DataError(
      f"{place} has no class folders: images of a class belong in {place}/<class>/<file>"
    )
  files: list[str] = []
  targets: list[int] = []
  for label, name in enumerate(names):
    found = _image_files(place / name)
    files.extend(f"{name}/{file}" for file in found)
    targets.extend([label] * len(found))
  # Class names go into tables, reports and names of metrics; those of the files stay as they are.
  classes = tuple(map(listing.class_title, names))
  return FolderSource(str(place), classes, tuple(files), np.array(targets, np.int32))


def open_folder(
  root: str, train_split: str, eval_split: str
) -> FolderSource | tuple[FolderSource, FolderSource]:
  """Opens an image folder.

  Args:
    root: a folder with the splits as folders, or with the classes as folders.
    train_split: name of the training folder; '' = 'train' where there is one.
    eval_split: name of the evaluation folder; '' = 'val', 'validation' or 'test'.

  Returns:
    (train, eval); or, where there is one folder of classes only, the one source that has it all.

  Raises:
    DataError: a folder is missing or empty, or the two have different classes.
  """
  place = listing.existing_folder(
    root,
    "data.name",
    "an image folder holds train/<class>/*.png and val/<class>/*.png, or <class>/*.png",
  )
  folders = _folders(place)
  if "train" not in folders and not train_split and not eval_split:
    return read_classes(place)
  splits = listing.chosen_splits(folders, train_split, eval_split, f"folders in {place}")
  train, *rest = (read_classes(place / split) for split in splits)
  if not rest:
    return train
  _check_same_classes(train, rest[0])
  return train, rest[0]


def _check_same_classes(train: FolderSource, evaluation: FolderSource) -> None:
  if train.class_names == evaluation.class_names:
    return
  only = []
  for one, other in ((train, evaluation), (evaluation, train)):
    missing = sorted(set(one.class_names) - set(other.class_names))
    if missing:
      only.append(f"only in {one.root}: {listing.listed(missing)}")
  raise DataError(f"class folders of the two splits differ; {'; '.join(only)}")
