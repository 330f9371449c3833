"""Image folders: `<root>/<class>/*.png`, or `<root>/train/<class>/...` and `<root>/val/<class>/...`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnnlab.data.features import Example, Feature, Features
from cnnlab.data.images import BadImage, Size, decode
from cnnlab.errors import DataError, unknown

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
USUAL_EVAL = ("val", "validation", "test")


@dataclasses.dataclass(frozen=True)
class FolderSource:
  """Image files in class folders, sorted by class and file name; three channels unless asked."""

  root: str
  class_names: tuple[str, ...]
  files: tuple[str, ...]  # relative to root
  targets: np.ndarray
  parallel_reads: bool = True

  @property
  def name(self) -> str:
    return f"folder:{self.root}"

  @property
  def features(self) -> Features:
    return {
      "image": Feature("image", (None, None, 3), "uint8"),
      "label": Feature("label", (), "int32", self.class_names),
    }

  def __len__(self) -> int:
    return len(self.files)

  def labels(self) -> np.ndarray:
    return self.targets

  def size(self) -> Size | None:
    return self._size

  @functools.cached_property
  def _size(self) -> Size | None:
    sizes: set[Size] = set()
    for file in self.files:
      try:
        with Image.open(os.path.join(self.root, file)) as image:
          sizes.add((image.height, image.width))
      # An unreadable file says nothing about the size; reading it in earnest will report it.
      except Exception:
        continue
      if len(sizes) > 1:
        return None
    return next(iter(sizes), None)

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    return [self._read_one(int(index), size, channels) for index in indices]

  def _read_one(self, index: int, size: Size | None, channels: int) -> Example | BadImage:
    try:
      image = decode(os.path.join(self.root, self.files[index]), size, channels)
    except BadImage as error:
      return error
    return {"image": image, "label": int(self.targets[index])}

  def fingerprint(self) -> Any:
    return self._fingerprint

  @functools.cached_property
  def _fingerprint(self) -> Any:
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
      stats = pool.map(
        lambda file: os.stat(os.path.join(self.root, file)), self.files, chunksize=64
      )
      for file, info in zip(self.files, stats, strict=True):
        digest.update(f"{file}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
    return ["folder", os.path.abspath(self.root), digest.hexdigest()]


def _folders(place: Path) -> list[str]:
  if not place.is_dir():
    return []
  with os.scandir(place) as entries:
    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def read_classes(root: str | os.PathLike[str]) -> FolderSource:
  """Lists the images of a folder of class folders; labels follow the sorted class names.

  Other files, and hidden ones, are left out.

  Raises:
    DataError: no class folder, or one without images.
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
    with os.scandir(place / name) as entries:
      found = sorted(
        e.name
        for e in entries
        if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".") and e.is_file()
      )
    if not found:
      raise DataError(
        f"class folder {place / name} has no images ({', '.join(SUFFIXES)}): fill or remove it"
      )
    files.extend(f"{name}/{file}" for file in found)
    targets.extend([label] * len(found))
  return FolderSource(str(place), tuple(names), tuple(files), np.array(targets, np.int32))


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
  place = Path(root).expanduser()
  if not place.is_dir():
    raise DataError(
      f"image folder {root!r} does not exist; it holds {root}/train/<class>/*.png and "
      f"{root}/val/<class>/*.png, or {root}/<class>/*.png"
    )
  folders = _folders(place)
  if "train" not in folders and not train_split and not eval_split:
    return read_classes(place)
  evaluation = eval_split or next((name for name in USUAL_EVAL if name in folders), "")
  for split in (train_split or "train", *([evaluation] if evaluation else [])):
    if split not in folders:
      raise DataError(f"{unknown('split', split, folders)} (folders in {place})")
  train = read_classes(place / (train_split or "train"))
  if not evaluation:
    return train
  pair = train, read_classes(place / evaluation)
  _check_same_classes(*pair)
  return pair


def _check_same_classes(train: FolderSource, evaluation: FolderSource) -> None:
  if train.class_names == evaluation.class_names:
    return
  only = []
  for one, other in ((train, evaluation), (evaluation, train)):
    missing = sorted(set(one.class_names) - set(other.class_names))
    if missing:
      only.append(f"only in {one.root}: {', '.join(missing)}")
  raise DataError(f"class folders of the two splits differ; {'; '.join(only)}")
