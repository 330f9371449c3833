"""CSV files with a row for each image: its path, its label and, optionally, its split."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import natsort
import numpy as np

from cnnlab.data import listing
from cnnlab.data.folder import FolderSource
from cnnlab.errors import DataError, nearest, shown

_LAYOUT = "a CSV file of images has the columns 'path' and 'label' and, optionally, 'split'; others are ignored"


class Row(NamedTuple):
  """An image of the table; `number` is its row as a spreadsheet shows it, the header being row 1."""

  number: int
  path: str
  label: str
  split: str


def open_csv(
  path: str, train_split: str, eval_split: str
) -> FolderSource | tuple[FolderSource, FolderSource]:
  """Opens a table of images.

  Args:
    path: of the file; paths in it are relative to its folder.
    train_split: value of 'split' of the training images; '' = 'train' where there is such a column.
    eval_split: of the evaluation images; '' = 'val', 'validation' or 'test'.

  Returns:
    (train, eval); or the one source that has it all, where there is no evaluation split.

  Raises:
    DataError: the file or an image is missing, or a row cannot be used; both are named.
  """
  place = listing.existing_file(path, "data.name", _LAYOUT)
  rows = _read(place)
  _check_files(place, rows)
  splits = list(dict.fromkeys(row.split for row in rows))
  chosen = [""]
  if splits != [""] or train_split or eval_split:
    named = [split for split in splits if split]
    chosen = listing.chosen_splits(named, train_split, eval_split, f"column 'split' of {place}")
  parts = [[row for row in rows if row.split == split] for split in chosen]
  classes = natsort.natsorted({row.label for part in parts for row in part})
  untrained = set(classes) - {row.label for row in parts[0]}
  if untrained:
    raise DataError(f"{place}: no training image of the class {listing.listed(sorted(untrained))}")
  sources = [_source(place, part, classes) for part in parts]
  return sources[0] if len(sources) == 1 else (sources[0], sources[1])


def _read(place: Path) -> list[Row]:
  """Returns the rows of a table; blank ones are left out."""
  try:
    with place.open(newline="", encoding="utf-8-sig") as file:
      table = [(i, line) for i, line in enumerate(csv.reader(file, strict=True), 1) if any(line)]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise DataError(f"{place} cannot be read as CSV in UTF-8: {listing.cause(error)}") from error
  header = [name.strip() for name in table[0][1]] if table else []
  columns = {name: _column(place, header, name) for name in ("path", "label")}
  if "split" in header:
    columns["split"] = _column(place, header, "split")
  rows = []
  for number, line in table[1:]:
    if len(line) != len(header):
      raise DataError(
        f"{place}, row {number}: it has {len(line)} fields, and the header has {len(header)}"
      )
    values = {name: line[index].strip() for name, index in columns.items()}
    for name, value in values.items():
      if not value:
        raise DataError(f"{place}, row {number}: column {name!r} is empty")
    rows.append(Row(number, values["path"], values["label"], values.get("split", "")))
  if not rows:
    raise DataError(f"{place} has no rows below its header; {_LAYOUT}")
  return rows


def _column(place: Path, header: Sequence[str], name: str) -> int:
  if header.count(name) == 1:
    return header.index(name)
  if name in header:
    raise DataError(f"{place}: two columns of its header are named {name!r}")
  close = nearest(name, header, 1)
  hint = f"; is it {close[0]!r}?" if close else ""
  raise DataError(
    f"{place}: its header (row 1) is {shown(','.join(header))} and has no column {name!r}{hint} {_LAYOUT}"
  )


def _check_files(place: Path, rows: Iterable[Row]) -> None:
  """Raises DataError where a file does not exist, or is in the table twice."""
  seen: dict[str, int] = {}
  for row in rows:
    file = os.path.normpath(place.parent / row.path)
    if file in seen:
      raise DataError(
        f"{place}, row {row.number}: {shown(row.path)} is in row {seen[file]} already"
      )
    seen[file] = row.number
    if not os.path.lexists(file):  # what else may be wrong with it, reading it will tell
      raise DataError(f"{place}, row {row.number}: {shown(row.path)} does not exist ({file})")


def _source(place: Path, rows: Sequence[Row], classes: Sequence[str]) -> FolderSource:
  number = {label: i for i, label in enumerate(classes)}
  return FolderSource(
    str(place.parent),
    tuple(listing.class_title(label) for label in classes),
    tuple(row.path for row in rows),
    np.array([number[row.label] for row in rows], np.int32),
    table=str(place),
  )
