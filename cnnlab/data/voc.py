"""Folders of images with Pascal VOC's annotations (doi:10.1007/s11263-009-0275-4): an XML file each.

    <root>/JPEGImages/x.jpg   <root>/Annotations/x.xml   <root>/ImageSets/Main/train.txt, val.txt
    <root>/classes.txt        the names of the classes, one a line; by default those that occur, sorted

A list in `ImageSets/Main` holds the names of a split's images, one a line. Without the lists there is one
split, of which a part is held out. Of an XML file, `size` and each `object` are read: its `name`,
`bndbox` and `difficult`. Its edges are numbers of pixels from 1, the last included, as in VOC: a box
from xmin = 1 to xmax = 1 is one pixel wide. An image without an `object` is one without objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import natsort

from cnnlab.data import listing
from cnnlab.data.annotated import AnnotatedSource, Annotation, Box, sources_of
from cnnlab.data.images import SUFFIXES, Size
from cnnlab.errors import DataError, shown, unknown

LAYOUT = (
  "such a folder holds JPEGImages/x.jpg, Annotations/x.xml and ImageSets/Main/train.txt and val.txt "
  "with the names of their images"
)
CLASSES_FILE = "classes.txt"


class _Object(NamedTuple):
  name: str
  edges: tuple[float, float, float, float]
  difficult: bool


class _Image(NamedTuple):
  path: Path
  file: str
  objects: tuple[_Object, ...]
  size: Size | None


def open_voc(
  root: str, train_split: str, eval_split: str
) -> AnnotatedSource | tuple[AnnotatedSource, AnnotatedSource]:
  """Opens a folder with Pascal VOC's annotations; see `open_coco` for arguments and result.

  Raises:
    DataError: a file is missing or cannot be used; it is named.
  """
  place = listing.existing_folder(root, "data.name", LAYOUT)
  for name in ("JPEGImages", "Annotations"):
    if not (place / name).is_dir():
      raise DataError(f"data.name: {place} has no folder {name!r}; {LAYOUT}")
  files = listing.files_by_stem(place / "JPEGImages", SUFFIXES)
  splits = [_read(place, files, names) for names in _names(place, files, train_split, eval_split)]
  classes = _classes(place, splits)
  found = [
    (str(place / "JPEGImages"), [one.file for one in split], _annotations(split, classes))
    for split in splits
  ]
  return sources_of("voc", found, [listing.class_title(name) for name in classes])


def _names(
  place: Path, files: Iterable[str], train_split: str, eval_split: str
) -> list[Sequence[str]]:
  """Returns the names of the images of each split."""
  folder = place / "ImageSets" / "Main"
  if not folder.is_dir():
    if asked := train_split or eval_split:
      raise DataError(
        f"data.train_split, data.eval_split: {shown(asked)}, but there is no {folder}"
      )
    annotated = listing.files_by_stem(place / "Annotations", (".xml",))
    return [sorted({*files, *annotated})]
  lists = listing.files_by_stem(folder, (".txt",))
  chosen = listing.chosen_splits(lists, train_split, eval_split, f"lists in {folder}")
  return [listing.lines(folder / lists[name]) for name in chosen]


def _read(place: Path, files: dict[str, str], names: Sequence[str]) -> list[_Image]:
  found = []
  for name in names:
    path = place / "Annotations" / f"{name}.xml"
    if name not in files:
      raise DataError(
        f"{place / 'JPEGImages'} has no image of the name {shown(name)} ({', '.join(SUFFIXES)})"
      )
    if not path.is_file():
      raise DataError(
        f"{path} is missing; an image without objects has an annotation without an 'object'"
      )
    try:
      root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
      raise DataError(f"cannot read {path} as XML: {listing.cause(error)}") from error
    objects = tuple(_object(path, i, one) for i, one in enumerate(root.iterfind("object"), 1))
    found.append(_Image(path, files[name], objects, _size(root)))
  return found


def _object(path: Path, number: int, node: ElementTree.Element) -> _Object:
  name = (node.findtext("name") or "").strip()
  texts = [node.findtext(f"bndbox/{edge}") for edge in ("ymin", "xmin", "ymax", "xmax")]
  try:
    top, left, bottom, right = (float(text or "") for text in texts)
  except ValueError as error:
    raise DataError(
      f"{path}: object {number} ({name!r}) has the bndbox (ymin, xmin, ymax, xmax) = {shown(texts)}; "
      "allowed: four numbers"
    ) from error
  if not name:
    raise DataError(f"{path}: object {number} has no name")
  # From the numbers of the first and the last pixel, counted from 1, to edges.
  edges = (top - 1, left - 1, bottom, right)
  return _Object(name, edges, (node.findtext("difficult") or "").strip() == "1")


def _size(root: ElementTree.Element) -> Size | None:
  """Returns (height, width) of the image; None where it is not known, which many programs write as 0."""
  texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
  height, width = (int(text) if text.isdecimal() else 0 for text in texts)
  return (height, width) if height and width else None


def _classes(place: Path, splits: Sequence[Sequence[_Image]]) -> tuple[str, ...]:
  """Returns the names of the classes: those of `CLASSES_FILE`, or those that occur."""
  if (place / CLASSES_FILE).is_file():
    return tuple(listing.lines(place / CLASSES_FILE))
  occurring = [
    natsort.natsorted({o.name for one in split for o in one.objects}) for split in splits
  ]
  if not occurring[0]:
    raise DataError(f"data.name: no training image of {place} has an object")
  return tuple(occurring[0])


def _annotations(split: Sequence[_Image], classes: Sequence[str]) -> list[Annotation]:
  """Returns the annotations of a split.

  Raises:
    DataError: an object's class is not among them.
  """
  labels = {name: label for label, name in enumerate(classes)}
  for one in split:
    for number, o in enumerate(one.objects, 1):
      if o.name not in labels:
        raise DataError(
          f"{one.path}: object {number}: {unknown('class', o.name, classes)} (the lines of "
          f"{CLASSES_FILE} or, without it, the classes of the training images)"
        )
  return [
    Annotation(
      str(one.path),
      tuple(Box(labels[o.name], o.edges, o.difficult) for o in one.objects),
      one.size,
    )
    for one in split
  ]
