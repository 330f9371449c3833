"""Folders of images with COCO's annotations (arXiv:1405.0312): one JSON file for each split.

    <root>/annotations/train.json   <root>/images/train/*.jpg     and the same for val
    <root>/annotations/instances_train2017.json   <root>/train2017/*.jpg   as COCO itself has it
    <root>/annotations.json         <root>/images/*.jpg           one split, of which a part is held out

A split is named by its JSON file, without `instances_`. Its images lie in `images/<split>`, `<split>` or
`images`. The file has `images` (`id`, `file_name`, and `height` and `width` where they are known),
`categories` (`id`, `name`) and `annotations` (`image_id`, `category_id`, `bbox` as [x, y, width,
height] in pixels, and `iscrowd`); all else is left out. Classes are in the order of their ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnnlab.data import listing
from cnnlab.data.annotated import AnnotatedSource, Annotation, Box, sources_of
from cnnlab.data.images import Size
from cnnlab.errors import DataError, shown, unknown

LAYOUT = (
  "such a folder holds annotations/train.json and images/train/*.jpg, and the same for val; or "
  "annotations.json and images/*.jpg"
)
PREFIX = "instances_"
Parts = dict[str, list[dict[str, Any]]]


class _Split(NamedTuple):
  files: list[str]
  annotations: list[Annotation]
  class_names: list[str]


def open_coco(
  root: str, train_split: str, eval_split: str
) -> AnnotatedSource | tuple[AnnotatedSource, AnnotatedSource]:
  """Opens a folder with COCO's annotations.

  Args:
    root: the folder.
    train_split: name of the training split; '' = 'train'.
    eval_split: of the evaluation split; '' = 'val', 'validation' or 'test'.

  Returns:
    (train, eval); or the one source that has it all, where there is one split only.

  Raises:
    DataError: a file is missing or cannot be used; it is named.
  """
  place = listing.existing_folder(root, "data.name", LAYOUT)
  chosen = {"": place / "annotations.json"}
  if not chosen[""].is_file():
    folder = place / "annotations"
    if not folder.is_dir():
      raise DataError(f"data.name: {place} has neither annotations/ nor annotations.json; {LAYOUT}")
    files = [entry.name for entry in listing.entries(folder) if entry.name.endswith(".json")]
    known = {file.removesuffix(".json").removeprefix(PREFIX): folder / file for file in files}
    names = listing.chosen_splits(known, train_split, eval_split, f"JSON files in {folder}")
    chosen = {name: known[name] for name in names}
  elif train_split or eval_split:
    asked = "train_split" if train_split else "eval_split"
    raise DataError(f"data.{asked}: {place} has one split only, {chosen['']}; leave it out")
  splits = {name: _read(path) for name, path in chosen.items()}
  train, *rest = splits.values()
  for (name, path), other in zip(chosen.items(), splits.values(), strict=True):
    if other.class_names != train.class_names:
      raise DataError(
        f"{path}: the categories of {name} are {listing.listed(other.class_names)}, and those of the "
        f"training split {listing.listed(train.class_names)}; allowed: the same"
      )
  folders = [_images(place, name) for name in splits]
  found = [
    (folder, s.files, s.annotations) for folder, s in zip(folders, [train, *rest], strict=True)
  ]
  return sources_of("coco", found, train.class_names)


def _images(place: Path, split: str) -> str:
  candidates = [place / "images" / split, place / split, place / "images"] if split else []
  for folder in candidates or [place / "images"]:
    if folder.is_dir():
      return str(folder)
  raise DataError(f"data.name: {place} has no folder of images for the split {split!r}; {LAYOUT}")


def _read(path: Path) -> _Split:
  """Returns what one JSON file holds."""
  parts = _parts(path)
  categories: dict[int, str] = {}
  for one in parts["categories"]:
    name = listing.class_title(_field(path, "category", one, "name", str))
    number = _field(path, "category", one, "id", int)
    if number in categories or name in categories.values():
      raise DataError(f"{path}: the category {shown(name)} ({number}) is there twice")
    categories[number] = name
  ids = sorted(categories)
  boxes: dict[int, list[Box]] = {}
  files: dict[int, str] = {}
  sizes: dict[int, Size | None] = {}
  for one in parts["images"]:
    file, number = (
      _field(path, "image", one, "file_name", str),
      _field(path, "image", one, "id", int),
    )
    if number in files:
      raise DataError(f"{path}: the image {shown(file)} ({number}) is there twice")
    files[number], boxes[number] = file, []
    sizes[number] = _size(path, one) if one.get("height") and one.get("width") else None
  if len(set(files.values())) < len(files):
    raise DataError(f"{path}: several of its images have the same file_name")
  for one in parts["annotations"]:
    image = _field(path, "annotation", one, "image_id", int)
    category = _field(path, "annotation", one, "category_id", int)
    what = f"{path}: annotation {one.get('id', '')}".rstrip()
    if image not in boxes:
      raise DataError(f"{what} is of the image {image}, which is not among its images")
    if category not in categories:
      raise DataError(f"{what}: {unknown('category_id', str(category), map(str, ids))}")
    boxes[image].append(Box(ids.index(category), _edges(what, one), bool(one.get("iscrowd"))))
  annotations = [
    Annotation(f"{path}, image {file}", tuple(boxes[number]), sizes[number])
    for number, file in files.items()
  ]
  return _Split(list(files.values()), annotations, [categories[number] for number in ids])


def _parts(path: Path) -> Parts:
  """Returns the three lists of a JSON file."""
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError) as error:
    raise DataError(f"cannot read {path} as JSON: {listing.cause(error)}") from error
  parts: Parts = {}
  for name in ("images", "annotations", "categories"):
    part = content.get(name) if isinstance(content, dict) else None
    if not isinstance(part, list) or not all(isinstance(one, dict) for one in part):
      raise DataError(f"{path} has no list {name!r} of objects; allowed: {__doc__.splitlines()[0]}")
    parts[name] = part
  return parts


def _field(path: Path, kind: str, one: Mapping[str, Any], key: str, type_: type) -> Any:
  value = one.get(key)
  if not isinstance(value, type_) or isinstance(value, bool):
    raise DataError(
      f"{path}: the {key!r} of {kind} {shown(one.get('id'))} is {shown(value)}; allowed: "
      f"{'a text' if type_ is str else 'a whole number'}"
    )
  return value


def _size(path: Path, image: Mapping[str, Any]) -> Size:
  height, width = (_field(path, "image", image, key, int) for key in ("height", "width"))
  return height, width


def _edges(what: str, annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
  box: Sequence[float] = annotation.get("bbox", ())
  numbers = isinstance(box, list) and all(
    isinstance(one, (int, float)) and not isinstance(one, bool) for one in box
  )
  if not numbers or len(box) != 4:
    raise DataError(f"{what} has the bbox {shown(box)}; allowed: [x, y, width, height] in pixels")
  left, top, width, height = map(float, box)
  return top, left, top + height, left + width
