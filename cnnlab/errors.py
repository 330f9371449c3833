"""Errors that a user can cause: each names the field or file, what was given and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

# Control characters but for line breaks and tabs, marks that turn the direction of writing, and the
# lone surrogates by which Python holds bytes of file names that are not UTF-8.
_NOT_SHOWN = re.compile(
  "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class CnnlabError(Exception):
  """Base of every error that is reported to the user without a traceback."""

  exit_code = 2


class ConfigError(CnnlabError):
  """A config key or value that cannot be used: misspelt, of the wrong type, or read by nothing."""


class DataError(CnnlabError):
  """A data set that is missing, empty, corrupt or does not fit the model."""


class ShapeError(CnnlabError, ValueError):
  """Sizes that do not fit each other: image, kernel, stride, padding, total stride."""


class RunError(CnnlabError):
  """A run directory that cannot be used as asked: other config, unreadable, already in use."""


class DivergedError(CnnlabError):
  """Training met a loss or gradient that is not finite."""

  exit_code = 3


def shown(value: Any, limit: int = 120) -> str:
  """Returns a value as Python spells it, cut to about `limit` characters."""
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # an integer of thousands of digits; a list within itself
    text = f"<{type(value).__name__}>"
  return text if len(text) <= limit else f"{text[: limit - 20]}... ({len(text)} characters)"


def nearest(given: str, allowed: Iterable[str], count: int = 3) -> list[str]:
  """Returns up to `count` names of `allowed` that look most like `given`, best first."""
  names = [str(name) for name in allowed]
  folded = {name.lower(): name for name in reversed(names)}
  close = difflib.get_close_matches(given.lower(), list(folded), n=count, cutoff=0.5)
  return [folded[name] for name in close]


def unknown(kind: str, given: str, allowed: Iterable[str], limit: int = 20) -> str:
  """Returns the message for an unknown name: what was given, the nearest names, what is allowed.

  Args:
    kind: what it should name, such as 'model' or "value of option 'act'".
    given: the name.
    allowed: the names that there are.
    limit: how many of them are listed.
  """
  names = sorted({str(name) for name in allowed})
  close = nearest(str(given)[:200], names)
  hint = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else "."
  listed = ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
  what, of, owner = kind.partition(" of ")
  return f"unknown {what} {shown(given)}{of}{owner}{hint} Allowed: {listed or 'none'}"


def printable(text: str) -> str:
  """Returns text with characters that a terminal would obey, or cannot show, as escapes: `\\x1b`.

  Line breaks and tabs stay. Bytes of a file name that are not UTF-8 appear as the bytes they are.
  """
  return _NOT_SHOWN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
  code = ord(found[0])
  if 0xDC80 <= code <= 0xDCFF:
    code -= 0xDC00
  return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
