"""A launcher's settings besides the number of workers: `--option KEY=VALUE`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cnnlab.errors import ConfigError, printable, shown, unknown

MOST_WORKERS = 10_000
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_settings(pairs: Iterable[str]) -> dict[str, str]:
  """Returns `{key: value}` of texts like 'partition=gpu'.

  Raises:
    ConfigError: a text without '=', or a key given twice.
  """
  settings: dict[str, str] = {}
  for pair in pairs:
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
      raise ConfigError(f"--option takes KEY=VALUE, not {pair!r}")
    if key.strip() in settings:
      raise ConfigError(f"--option {key.strip()} is given twice")
    settings[key.strip()] = value.strip()
  return settings


def check_workers(workers: int | None, most: int = MOST_WORKERS) -> None:
  """Raises ConfigError unless so many runs can be trained at the same time; None always can."""
  if workers is not None and not 1 <= workers <= most:
    raise ConfigError(f"workers is {workers}; allowed: 1 to {most}")


def read_settings(
  launcher: str,
  settings: Mapping[str, Any] | None,
  defaults: Mapping[str, Any],
  limits: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
  """Returns the settings of a launcher, each of the type of its default.

  Args:
    launcher: its name, for messages.
    settings: {key: text}.
    defaults: {key: value} of all settings.
    limits: (least, most) of each that is a number.

  Raises:
    ConfigError: a key that the launcher does not have, a value of another type or beyond its
      limits, or a text with control characters.
  """
  chosen = dict(defaults)
  for key, value in (settings or {}).items():
    if key not in defaults:
      raise ConfigError(unknown(f"option of launcher {launcher!r}", key, defaults))
    where = f"option {key} of launcher {launcher!r}"
    chosen[key] = _convert(where, str(value), type(defaults[key]))
    least, most = limits.get(key, (-math.inf, math.inf))
    if key in limits and not least <= chosen[key] <= most:
      raise ConfigError(f"{where} is {value}; allowed: {least:g} to {most:g}")
  return chosen


def _convert(where: str, value: str, kind: type) -> Any:
  try:
    if kind is bool:
      return _TRUTH[value.lower()]
    if kind in (int, float):
      return kind(value)
    # The scripts that take these texts end their lines at line breaks.
    if printable(value) != value or "\n" in value:
      raise ConfigError(f"{where} is {value!r}; allowed: text without control characters")
    return value
  except (KeyError, ValueError) as error:
    wanted = {bool: "yes or no", int: "a whole number", float: "a number"}[kind]
    raise ConfigError(f"{where}: {shown(value)} is not {wanted}") from error
