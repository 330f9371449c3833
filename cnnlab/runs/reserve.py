"""Room for the last word: a run's status can be written although the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cnnlab.runs.files import cannot_write

SIZE = 65_536  # bytes; a status with a long traceback has less
NAME = ".reserve"


class Reserve:
  """A file of blanks in a run directory, which becomes `status.json` when nothing else can be written.

  It is overwritten in place and renamed, which takes no further space, and leaves no moment in
  which somebody else could take the space that it frees.
  """

  def __init__(self, directory: Path):
    self.path = directory / NAME

  def keep(self) -> None:
    """Takes the space, unless it is taken.

    Raises:
      RunError: the disk is full.
    """
    try:
      if self.path.is_file() and self.path.stat().st_size == SIZE:
        return
      with self.path.open("wb") as file:
        file.write(b" " * SIZE)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
      self.release()
      raise cannot_write(self.path, error) from error

  def become(self, path: Path, content: bytes) -> None:
    """Replaces a file by this content, in the space that is kept.

    Raises:
      OSError: there is no reserve, or not even this is possible.
      ValueError: the content is longer than what is kept.
    """
    if len(content) > SIZE:
      raise ValueError(f"{len(content)} bytes do not fit the {SIZE} that are kept")
    with self.path.open("r+b") as file:
      file.write(content)
      file.flush()
      file.truncate()
      os.fsync(file.fileno())
    os.replace(self.path, path)

  def release(self) -> None:
    """Gives the space back."""
    with contextlib.suppress(OSError):
      self.path.unlink(missing_ok=True)
