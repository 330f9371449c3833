"""Errors that a user can cause: each names the field or file, what was given and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(given: str, allowed: Iterable[str], count: int = 3) -> list[str]:
  """Returns up to `count` names of `allowed` that look most like `given`, best first."""
  names = [str(name) for name in allowed]
  folded = {name.lower(): name for name in reversed(names)}
  close = difflib.get_close_matches(given.lower(), list(folded), n=count, cutoff=0.5)
  return [folded[name] for name in close]


def unknown(kind: str, given: str, allowed: Iterable[str], limit: int = 20) -> str:
  """Returns the message for an unknown name: what was given, the nearest names, what is allowed."""
  names = sorted({str(name) for name in allowed})
  close = nearest(str(given), names)
  hint = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else "."
  shown = ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
  return f"unknown {kind} {given!r}{hint} Allowed: {shown or 'none'}"
