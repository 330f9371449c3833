"""Images and labels that are NumPy arrays already: in memory, or in an .npz file.

`npz:FILE` reads any of three layouts: `images` and `labels`; `train_images`, `train_labels`,
`val_images`, ... (MedMNIST); `x_train`, `y_train`, `x_test`, `y_test` (Keras). An array `class_names`
names the classes.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.data import listing
from cnnlab.data.features import Feature
from cnnlab.data.sources import ArraySource
from cnnlab.errors import DataError, shown, unknown

Pair = tuple[ArrayLike, ArrayLike]  # images and labels

_LAYOUT = (
  "an .npz file holds images and labels, train_images, train_labels, val_images, val_labels, or "
  "x_train, y_train, x_test, y_test"
)


def from_arrays(
  images: ArrayLike,
  labels: ArrayLike,
  eval_images: ArrayLike | None = None,
  eval_labels: ArrayLike | None = None,
  *,
  class_names: Sequence[str] | None = None,
  name: str = "arrays",
) -> ArraySource | tuple[ArraySource, ArraySource]:
  """Returns images in memory with a class each as a data set, for `register_source`.

  Args:
    images: whole numbers from 0 to 255, [n, height, width] or [n, height, width, channels] with 1
      or 3 channels.
    labels: [n], whole numbers from 0 or names of classes.
    eval_images, eval_labels: the same of the evaluation split. Without them, the fraction
      `data.eval_fraction` of every class is held out.
    class_names: of the classes, by number. By default the names that occur, sorted, or the numbers.
    name: what errors call the data set.

  Returns:
    One source, or the pair of the training and the evaluation source.

  Raises:
    DataError: arrays that cannot be used; the message says what they hold and what is allowed.
  """
  if (eval_images is None) != (eval_labels is None):
    raise DataError(f"{name}: eval_images and eval_labels belong together; one of them is missing")
  pairs: list[Pair] = [(images, labels)]
  if eval_images is not None and eval_labels is not None:
    pairs.append((eval_images, eval_labels))
  sources = sources_of(pairs, class_names, name)
  return sources[0] if len(sources) == 1 else (sources[0], sources[1])


def sources_of(
  pairs: Sequence[Pair], class_names: Sequence[str] | None, name: str
) -> list[ArraySource]:
  """Returns a source for each pair of images and labels; all have the same classes.

  Raises:
    DataError: as of `from_arrays`.
  """
  images = [_images(pair[0], name) for pair in pairs]
  labels = [_labels(pair[1], len(own), name) for pair, own in zip(pairs, images, strict=True)]
  names, numbers = _classes(labels, class_names, name)
  channels = images[0].shape[3]
  return [
    ArraySource(
      name,
      {
        "image": Feature("image", (*own.shape[1:3], channels), "uint8"),
        "label": Feature("label", (), "int32", names),
      },
      {"image": own, "label": number},
    )
    for own, number in zip(images, numbers, strict=True)
  ]


def _images(given: ArrayLike, name: str) -> np.ndarray:
  """Returns uint8 [n, height, width, channels]."""
  try:
    array = np.asarray(given)
  except ValueError as error:
    raise DataError(
      f"{name}: images of different sizes make no array: keep them in files (folder:, csv:), or "
      "write a Source"
    ) from error
  if array.ndim == 3:
    array = array[..., None]
  if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
    first = array.ndim == 4 and array.shape[1] in (1, 3)
    hint = "; channels come last here: images.transpose(0, 2, 3, 1)" if first else ""
    raise DataError(
      f"{name}: images have the shape {np.shape(given)}; allowed: [n, height, width] or [n, height, "
      f"width, channels] with 1 or 3 channels{hint}"
    )
  if not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
    raise DataError(
      f"{name}: images are {array.dtype} from {array.min():g} to {array.max():g}; allowed: whole "
      "numbers from 0 to 255, such as (255 * images).round().astype('uint8')"
    )
  return array.astype(np.uint8, copy=False)


def _labels(given: ArrayLike, count: int, name: str) -> np.ndarray:
  """Returns labels [n], whole numbers or text."""
  array = np.asarray(given)
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  if array.shape != (count,):
    hint = "; take the largest of one-hot labels: labels.argmax(1)" if array.ndim == 2 else ""
    raise DataError(
      f"{name}: labels have the shape {np.shape(given)}; allowed: ({count},), one for each image{hint}"
    )
  if array.dtype.kind in "OUST":
    if not all(isinstance(label, str) and label for label in array.tolist()):
      raise DataError(
        f"{name}: labels hold something else than names; allowed: text or whole numbers"
      )
    return array.astype(str)
  if array.dtype.kind not in "biu":
    raise DataError(f"{name}: labels are {array.dtype}; allowed: whole numbers from 0, or names")
  return array.astype(np.int64)


def _classes(
  labels: Sequence[np.ndarray], class_names: Sequence[str] | None, name: str
) -> tuple[tuple[str, ...], list[np.ndarray]]:
  """Returns the names of the classes, and each array of labels as int32 numbers."""
  kinds = {array.dtype.kind for array in labels}
  if len(kinds) > 1:
    raise DataError(
      f"{name}: some labels are numbers and some are names; allowed: one or the other"
    )
  everything = np.concatenate(labels)
  text = kinds == {"U"}
  if class_names is None:
    names = (
      np.unique(everything).tolist() if text else [str(i) for i in range(everything.max() + 1)]
    )
  else:
    names = [str(each) for each in class_names]
  if len(set(names)) != len(names):
    raise DataError(f"{name}: class_names {shown(names)} holds a name twice")
  if not text:
    wrong = everything[(everything < 0) | (everything >= len(names))]
    if len(wrong):
      raise DataError(f"{name}: a label is {wrong[0]}; allowed: 0 to {len(names) - 1}")
    return tuple(names), [array.astype(np.int32) for array in labels]
  number = {each: i for i, each in enumerate(names)}
  for label in np.unique(everything).tolist():
    if label not in number:
      raise DataError(f"{name}: {unknown('class', label, names)}")
  return tuple(names), [np.array([number[x] for x in a.tolist()], np.int32) for a in labels]


def open_npz(
  path: str, train_split: str, eval_split: str
) -> ArraySource | tuple[ArraySource, ArraySource]:
  """Opens a file of NumPy arrays.

  Args:
    path: of the file; its arrays are named as the module's docstring says.
    train_split: name of the training split; '' = 'train' where there is one.
    eval_split: of the evaluation split; '' = 'val', 'validation' or 'test'.

  Returns:
    (train, eval); or the one source that has it all, where there is one split only.

  Raises:
    DataError: the file is missing, damaged or holds other arrays; it is named, with the array.
  """
  place = listing.existing_file(path, "data.name", _LAYOUT)
  with _opened(place) as archive:
    splits = dict(filter(None, map(_split_and_keys, archive.files)))
    for _, key in splits.values():
      if key not in archive.files:
        raise DataError(f"{place}: {unknown('array', key, archive.files)}; {_LAYOUT}")
    if not splits:
      raise DataError(f"{place}: its arrays are {listing.listed(archive.files)}; {_LAYOUT}")
    chosen = [""]
    if set(splits) != {""} or train_split or eval_split:
      chosen = listing.chosen_splits(sorted(splits), train_split, eval_split, f"arrays in {place}")
    pairs = [
      (_member(archive, splits[split][0], place), _member(archive, splits[split][1], place))
      for split in chosen
    ]
    names = _member(archive, "class_names", place) if "class_names" in archive.files else None
  sources = sources_of(pairs, None if names is None else names.tolist(), f"npz:{place}")
  return sources[0] if len(sources) == 1 else (sources[0], sources[1])


def _split_and_keys(key: str) -> tuple[str, tuple[str, str]] | None:
  """Returns the split of an array of images, with its key and that of the labels; else None."""
  if key in ("images", "x"):
    return "", (key, {"images": "labels", "x": "y"}[key])
  if key.endswith("_images"):
    split = key.removesuffix("_images")
    return split, (key, f"{split}_labels")
  if key.startswith("x_"):
    split = key.removeprefix("x_")
    return split, (key, f"y_{split}")
  return None


def _opened(place: Path) -> np.lib.npyio.NpzFile:
  try:
    archive = np.load(place, allow_pickle=False)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise DataError(f"{place} is not an .npz file, or damaged ({error}); {_LAYOUT}") from error
  if not isinstance(archive, np.lib.npyio.NpzFile):
    raise DataError(f"{place} holds a single array; {_LAYOUT}")
  return archive


def _member(archive: np.lib.npyio.NpzFile, key: str, place: Path) -> np.ndarray:
  try:
    return archive[key]
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise DataError(f"{place}: the array {key!r} cannot be read ({error})") from error
