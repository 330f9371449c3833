"""Files of JSON and text: replaced atomically, and read with errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.types import Json

# The system's errors that concern a disk, whichever file was named.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def write_json(path: Path, value: object) -> None:
  """Replaces a JSON file atomically: a reader sees the old or the new one, never a part.

  Raises:
    RunError: it cannot be written; the message gives the system's reason.
  """
  write_bytes(path, to_json(value))


def to_json(value: object) -> bytes:
  """Returns a value as the content of a JSON file."""
  return (json.dumps(value, indent=2, sort_keys=False, allow_nan=True) + "\n").encode()


def write_text(path: Path, text: str) -> None:
  """Replaces a text file as `write_bytes` does."""
  write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
  """Replaces a file atomically, and only once its bytes are on the disk.

  Raises:
    RunError: it cannot be written; the message gives the system's reason.
  """
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with temporary.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    raise cannot_write(path, error) from error
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


class CannotWriteError(RunError):
  """A file or folder that cannot be written, for a reason of the system's, such as a full disk."""


def cannot_write(path: Path, error: OSError) -> CannotWriteError:
  """Returns the error for a file or folder that cannot be written."""
  return CannotWriteError(f"cannot write {path}: {error.strerror or error}")


def read_json(path: Path) -> Json:
  """Returns the object in a JSON file.

  Raises:
    RunError: the file is missing, cannot be read, or holds no JSON object; the message names it.
  """
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise RunError(f"{path}: no such file; is {path.parent} a run directory?") from error
  except (ValueError, OSError, RecursionError) as error:
    reason = error.strerror if isinstance(error, OSError) else error
    raise RunError(f"{path}: cannot be read as JSON ({reason})") from error
  if not isinstance(content, dict):
    raise RunError(f"{path}: holds a JSON {_KINDS[type(content)]}, not an object")
  return content


_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "boolean"} | {
  type(None): "null"
}


def present(path: Path) -> bool:
  """Returns whether anything is there, be it a folder or a link that leads nowhere."""
  return os.path.lexists(path)


def new_folder(option: str, given: str) -> Path:
  """Returns the folder that an option names; it may be there already if it is empty.

  Raises:
    RunError: something is there, or nothing is named.
  """
  path = Path(given)
  if not given or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
    raise RunError(f"{option} {given!r} already exists; name a new directory")
  return path


def make_folder(path: Path) -> None:
  """Makes a folder and its missing parents; makes none of them if one cannot be made.

  Raises:
    RunError: it cannot be made; the message gives the reason.
  """
  made: list[Path] = []
  try:
    str(path).encode()  # checkpoints cannot be written below other names
    for folder in reversed(_missing(path)):
      folder.mkdir(exist_ok=True)
      made.append(folder)
    if not path.is_dir():
      raise NotADirectoryError(0, "it is a file, not a folder")
  except (OSError, ValueError) as error:
    for folder in reversed(made):
      with contextlib.suppress(OSError):
        folder.rmdir()
    reason = error.strerror if isinstance(error, OSError) else error
    raise RunError(f"cannot make the folder {str(path)!r}: {reason}") from error


def check_folder(path: Path) -> None:
  """Checks that a folder exists or could be made; nothing of it is left.

  Raises:
    RunError: it cannot be made; the message gives the reason.
  """
  try:
    missing = _missing(path)
  except (OSError, ValueError):
    missing = []  # `make_folder` says why
  make_folder(path)
  for folder in missing:
    with contextlib.suppress(OSError):
      folder.rmdir()


def _missing(path: Path) -> list[Path]:
  """Returns the folders to be made, innermost first."""
  missing = []
  for folder in (path, *path.parents):
    if folder.is_dir():
      break
    missing.append(folder)
  return missing
