"""Folders as a user names them: found or refused with the reason, and listed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from cnnlab.errors import DataError, printable, shown, unknown

USUAL_EVAL = ("val", "validation", "test")  # names of evaluation splits, the first that there is


def existing_folder(given: str, key: str, holds: str) -> Path:
  """Returns the path of a folder that exists, `~` expanded.

  Args:
    given: as the config has it.
    key: the config key, for errors.
    holds: what such a folder holds, for errors.

  Raises:
    DataError: there is none, or it cannot be read; the message names the key.
  """
  place = _existing(given, key, "folder", holds)
  if not place.is_dir():
    raise DataError(f"{key}: {shown(given)} is a file, not a folder; {holds}")
  return place


def existing_file(given: str, key: str, holds: str) -> Path:
  """Returns the path of a file that exists, `~` expanded; arguments and errors are those of a folder."""
  place = _existing(given, key, "file", holds)
  if not place.is_file():
    raise DataError(f"{key}: {shown(given)} is not a plain file; {holds}")
  return place


def _existing(given: str, key: str, kind: str, holds: str) -> Path:
  try:
    place = Path(given).expanduser()
    os.stat(place)
  # RuntimeError: no such user after '~'. ValueError: a NUL within the path.
  except (OSError, RuntimeError, ValueError) as error:
    why = (
      "does not exist"
      if isinstance(error, FileNotFoundError)
      else f"cannot be read: {cause(error)}"
    )
    raise DataError(f"{key}: the {kind} {shown(given)} {why}; {holds}") from error
  return place


def chosen_splits(
  found: Collection[str], train_split: str, eval_split: str, where: str
) -> list[str]:
  """Returns the names of the training split and, where there is one, of the evaluation split.

  Args:
    found: names of the splits that there are.
    train_split, eval_split: as the config has them; '' = 'train', and the first of `USUAL_EVAL`.
    where: what the splits are, for errors.

  Raises:
    DataError: there is no such split; the nearest is named.
  """
  evaluation = eval_split or next((name for name in USUAL_EVAL if name in found), "")
  asked = {"train_split": train_split or "train", "eval_split": evaluation}
  for key, split in asked.items():
    if split and split not in found:
      raise DataError(f"data.{key}: {unknown('split', split, found)} ({where})")
  return [split for split in asked.values() if split]


def class_title(name: str) -> str:
  """Returns a class's name as tables, reports and metrics show it, on one line."""
  return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def cause(error: Exception) -> str:
  """Returns what the system says of an error, without the file's name."""
  return (error.strerror if isinstance(error, OSError) else None) or str(error)


def entries(place: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
  """Returns what a folder holds, sorted by name, without hidden names.

  Raises:
    DataError: it cannot be read.
  """
  try:
    with os.scandir(place) as found:
      return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
  except OSError as error:
    raise DataError(f"cannot read the folder {os.fspath(place)}: {cause(error)}") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
  """Returns whether an entry is a folder, or a link to one; links that lead nowhere are none."""
  try:
    return entry.is_dir()
  except OSError:  # links in a circle
    return False


def listed(names: Iterable[str], limit: int = 10) -> str:
  """Returns names with commas between them, the first `limit` of them and how many there are."""
  given = list(names)
  more = f", ... ({len(given)} in all)" if len(given) > limit else ""
  return ", ".join(given[:limit]) + more


def files_by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, str]:
  """Returns {name without suffix: name} of a folder's files of some kinds, sorted.

  Raises:
    DataError: two files differ in their suffix only, or the folder cannot be read.
  """
  found: dict[str, str] = {}
  for entry in entries(folder):
    stem, _, suffix = entry.name.rpartition(".")
    if f".{suffix.lower()}" in suffixes:
      if stem in found:
        raise DataError(f"{folder} has both {found[stem]} and {entry.name}; one image, one name")
      found[stem] = entry.name
  return found


def lines(path: Path) -> list[str]:
  """Returns the lines of a text file without the blanks around them, nor empty ones at its end.

  Raises:
    DataError: the file is missing or no text, or a line is empty or there twice.
  """
  try:
    found = [line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines()]
  except (OSError, ValueError) as error:
    raise DataError(f"cannot read {path}: {cause(error)}") from error
  seen: set[str] = set()
  for number, line in enumerate(found, start=1):
    if not line or line in seen:
      problem = f"names {shown(line)} again" if line else "is empty"
      raise DataError(f"{path}: line {number} {problem}; allowed: a name of its own on each line")
    seen.add(line)
  return found
