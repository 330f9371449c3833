"""Conditions by which runs are chosen, such as `status=done` and `optim.learning_rate<0.1`."""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnnlab.errors import ConfigError, unknown
from cnnlab.runs.table import Entry

_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


class Condition(NamedTuple):
  """A condition on a run: `key relation value`, as written."""

  key: str
  relation: str
  value: str

  @classmethod
  def parse(cls, text: str) -> Condition:
    """Returns the condition that a text spells.

    Raises:
      ConfigError: a text of another form.
    """
    found = re.fullmatch(r"([^=<>!]+)(<=|>=|!=|=|<|>)(.*)", text)
    if found is None:
      raise ConfigError(
        f"--where {text!r} has no relation; allowed: KEY=VALUE, with a pattern such as 'resnet*' as "
        "value, or one of != < > <= >= in the place of ="
      )
    return cls(*(part.strip() for part in found.groups()))

  def holds(self, entry: Entry) -> bool:
    """Returns whether a run meets the condition; one without the key only meets `!=`."""
    value = entry.values.get(self.key)
    if self.relation in _COMPARE:
      try:
        return value is not None and _COMPARE[self.relation](float(value), float(self.value))
      except (TypeError, ValueError):
        return False
    return self._equal(value) == (self.relation == "=")

  def _equal(self, value: object) -> bool:
    if value is None:
      return False
    try:
      return float(value) == float(self.value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
      text = (value if isinstance(value, str) else json.dumps(value)).lower()
      asked = self.value.lower()  # a list in brackets is also a pattern, of other texts
      return text == asked or fnmatch.fnmatchcase(text, asked)


def choose(found: Sequence[Entry], conditions: Iterable[str]) -> list[Entry]:
  """Returns the runs that meet all conditions.

  Raises:
    ConfigError: a condition cannot be read, or names what no run has.
  """
  parsed = [Condition.parse(text) for text in conditions]
  check_names((one.key for one in parsed), found, "--where")
  return [entry for entry in found if all(one.holds(entry) for one in parsed)]


def check_names(names: Iterable[str], found: Sequence[Entry], option: str) -> None:
  """Checks that each name is a value that some run has.

  Raises:
    ConfigError: a name that no run has.
  """
  known = {key for entry in found for key in entry.values}
  for name in names:
    if found and name not in known:
      raise ConfigError(unknown(f"key of {option}", name, known))
