"""What a logger elsewhere keeps in a run's directory, so that a later session goes on with the same run."""

from __future__ import annotations

from pathlib import Path

from cnnlab.runs.files import present, read_json, write_json
from cnnlab.types import Json


def name_of(directory: Path) -> str:
  """Returns how a run is called elsewhere: its path from the current folder, if it lies below."""
  here = Path.cwd()
  return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)


class Trail:
  """The run's names elsewhere, and the last step that was sent, in one JSON file.

  Args:
    path: of the file; made by `keep`.

  Raises:
    RunError: it is damaged.
  """

  def __init__(self, path: Path):
    self._path = path
    self.content: Json = read_json(path) if present(path) else {}

  def keep(self, **fields: object) -> None:
    """Keeps fields besides those that are there."""
    self.content |= fields
    write_json(self._path, self.content)

  def is_new(self, step: int) -> bool:
    """Returns whether the row of a step was not sent yet, and keeps that it is.

    It is kept before the row is sent: a kill in between loses a row elsewhere, and repeats none.
    """
    if step <= self.content.get("step", 0):
      return False
    self.keep(step=step)
    return True
