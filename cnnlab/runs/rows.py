"""Rows of `metrics.jsonl` and `timing.jsonl`: appended, and checked against what was recorded.

Checkpoints and `status.json` record how many rows there were, and a checksum of them. So rows that
are missing or changed are noticed, by who resumes the run and by who reads it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cnnlab.errors import RunError
from cnnlab.runs.files import cannot_write, present, write_bytes
from cnnlab.types import Json, JsonMapping

NAMES = ("metrics", "timing")


class Found(NamedTuple):
  """The rows of a file up to a step.

  Attributes:
    lines: the rows as they are in the file.
    dropped: how many other lines it holds.
    damaged: whether one of those is neither a row nor a torn last line.
  """

  lines: list[bytes]
  dropped: int
  damaged: bool


class Rows:
  """The rows of one file, as its run writes them.

  Attributes:
    path: the file.
    last: the last row; {} if there is none.
  """

  def __init__(self, path: Path):
    self.path = path
    self.last: Json = {}
    self._count, self._crc = 0, 0

  def append(self, row: JsonMapping) -> None:
    """Appends a row in one write, so that a kill truncates at most one line.

    Raises:
      RunError: it cannot be written.
    """
    line = _line(row)
    try:
      descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
      try:
        rest = memoryview(line)
        while rest:
          rest = rest[os.write(descriptor, rest) :]
      finally:
        os.close(descriptor)
    except OSError as error:
      raise cannot_write(self.path, error) from error
    self._add(dict(row), line)

  def record(self) -> Json:
    """Returns what is to be recorded of the rows so far."""
    return {"rows": self._count, "step": self.last.get("step", 0), "crc32": f"{self._crc:08x}"}

  def read(self, until: float = math.inf) -> Found:
    """Takes up the rows that the file has up to a step.

    Raises:
      RunError: something is there that cannot be read.
    """
    self.last, self._count, self._crc = {}, 0, 0
    lines, dropped, damaged = [], 0, False
    every = _lines(self.path)
    for number, line in enumerate(every, start=1):
      row = _row(line)
      if row is not None and row["step"] <= until:
        lines.append(line)
        self._add(row, line)
        continue
      dropped += 1
      damaged |= row is None and (number < len(every) or line.endswith(b"\n"))
    return Found(lines, dropped, damaged)

  def replace(self, found: Found) -> Path | None:
    """Reduces the file to these rows; returns where a damaged one is kept.

    Raises:
      RunError: it cannot be written.
    """
    kept = None
    if found.damaged:
      kept = self.path.with_name(f"{self.path.name}.damaged")
      with contextlib.suppress(OSError):  # the first one stays
        os.link(self.path, kept)
    if found.dropped:
      write_bytes(self.path, b"".join(found.lines))
    return kept

  def _add(self, row: Json, line: bytes) -> None:
    self.last, self._count = row, self._count + 1
    self._crc = zlib.crc32(line, self._crc)


def complaint(path: Path, record: object) -> str:
  """Returns what is wrong with the rows of a file, by what was recorded of them; '' if nothing.

  Rows that follow the recorded ones do not matter.

  Raises:
    RunError: something is there that cannot be read.
  """
  if not isinstance(record, Mapping) or not isinstance(record.get("rows"), int):
    return ""  # written by earlier code
  expected, step = record["rows"], record.get("step")
  lines = [line for line in _lines(path) if _row(line) is not None][:expected]
  if len(lines) < expected:
    return f"{expected - len(lines)} of the {expected} rows up to step {step} are missing"
  crc = 0
  for line in lines:
    crc = zlib.crc32(line, crc)
  if f"{crc:08x}" != record.get("crc32"):
    return f"the {expected} rows up to step {step} are not as they were written"
  return ""


def checked_rows(directory: Path, status: JsonMapping) -> list[Json]:
  """Returns the rows of a run's metrics.jsonl.

  Args:
    directory: the run's.
    status: the content of its status.json, which records how many rows there were.

  Raises:
    RunError: rows are missing, or are not as they were written, or the file cannot be read.
  """
  path = directory / "metrics.jsonl"
  rows = read_json_lines(path)
  logged = status.get("logged")
  if problem := complaint(path, logged.get("metrics") if isinstance(logged, Mapping) else None):
    raise RunError(f"{path}: {problem}")
  return rows


def read_json_lines(path: Path) -> list[Json]:
  """Returns the objects of a file with one JSON object per line; none if the file is absent.

  A truncated last line is skipped: it was being written when the run died.

  Raises:
    RunError: the file cannot be read, or a line before the last is not a JSON object; the message
      gives the line's number.
  """
  lines = _lines(path)
  rows = []
  for number, line in enumerate(lines, start=1):
    try:
      row = json.loads(line)
      if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__} instead of an object")
    except (ValueError, RecursionError) as error:
      if number == len(lines) and not line.endswith(b"\n"):
        break
      raise RunError(f"{path}, line {number}: broken JSON ({error})") from error
    rows.append(row)
  return rows


def _lines(path: Path) -> list[bytes]:
  if not present(path):
    return []
  try:
    return path.read_bytes().splitlines(keepends=True)
  except OSError as error:
    raise RunError(f"{path}: cannot be read ({error.strerror})") from error


def _line(row: JsonMapping) -> bytes:
  return (json.dumps(dict(row)) + "\n").encode()


def _row(line: bytes) -> dict[str, Any] | None:
  """Returns a row, None for a line that is none: a torn or a damaged one."""
  try:
    row = json.loads(line) if line.endswith(b"\n") else None
  except (ValueError, RecursionError):
    return None
  return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
