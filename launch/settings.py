"""A launcher's settings besides the number of workers: `--option KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cnnlab.errors import ConfigError, unknown

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


def read_settings(
  launcher: str, settings: Mapping[str, Any] | None, defaults: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the settings of a launcher, each of the type of its default; None as default takes a text.

  Raises:
    ConfigError: a key that the launcher does not have, or a value of another type.
  """
  chosen = dict(defaults)
  for key, value in (settings or {}).items():
    if key not in defaults:
      raise ConfigError(unknown(f"option of launcher {launcher!r}", key, defaults))
    chosen[key] = _convert(launcher, key, str(value), type(defaults[key]))
  return chosen


def _convert(launcher: str, key: str, value: str, kind: type) -> Any:
  try:
    if kind is bool:
      return _TRUTH[value.lower()]
    return kind(value) if kind in (int, float) else value
  except (KeyError, ValueError) as error:
    wanted = {bool: "yes or no", int: "a whole number", float: "a number"}[kind]
    raise ConfigError(
      f"option {key} of launcher {launcher!r}: {value!r} is not {wanted}"
    ) from error
