"""Names that users add: every `register_*` function puts what it is given into the table of its kind."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import TypeVar

from cnnlab.errors import ConfigError, shown

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_added: set[tuple[str, str]] = set()


def register(
  table: MutableMapping[str, T], kind: str, name: str, given: T, *, replace: bool = False
) -> None:
  """Adds a name to a table; the same again is no error.

  Args:
    table: name -> what it stands for.
    kind: what the names of the table stand for, for messages.
    name: letters, digits and `_ . + -`.
    given: what it stands for.
    replace: whether it takes the place of another that was added, as when the cell of a notebook is
      run again. What cnnlab itself has under a name stays.

  Raises:
    ConfigError: not such a name, or it is taken.
  """
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    raise ConfigError(
      f"{shown(name)} cannot name a {kind}; allowed: letters, digits, '_', '.', '+' and '-'"
    )
  if name in table and table[name] is not given:
    added = (kind, name) in _added
    if not added:
      raise ConfigError(f"{kind} {name!r} is cnnlab's own: choose another name")
    if not replace:
      raise ConfigError(
        f"{kind} {name!r} is registered already, as {shown(table[name])}: choose another name, or "
        "pass replace=True"
      )
  if name not in table:
    _added.add((kind, name))
  table[name] = given
