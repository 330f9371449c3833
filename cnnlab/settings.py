"""From the sections of a config page to frozen dataclasses: types are checked, unused keys refused."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from ml_collections import ConfigDict

from cnnlab.annotations import allowed, fit
from cnnlab.calls import read_call
from cnnlab.config import flatten
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError, shown, unknown

T = TypeVar("T")


def bind(cls: type[T], section: Mapping[str, Any], where: str) -> T:
  """Returns a settings dataclass made of the keys of a section that it has; others are left out.

  Args:
    cls: frozen dataclass; its annotations are the types, with the ranges of numbers.
    section: of a config page, as plain values.
    where: the section's name for messages; '' for the top of the page.

  Raises:
    ConfigError: a value of the wrong type or out of range, or one that the dataclass refuses.
  """
  hints = typing.get_type_hints(cls, include_extras=True)
  values = {}
  for field in _fields(cls):
    if field.name in section:
      value, fits = fit(section[field.name], hints[field.name])
      if not fits:
        raise ConfigError(_misfit(_dotted(where, field.name), value, hints[field.name]))
      values[field.name] = value
  return cls(**values)


def choose(variants: Mapping[str, type[T]], section: Mapping[str, Any], where: str) -> T:
  """Returns the settings of the variant that `section['name']` names.

  Raises:
    ConfigError: an unknown variant (the nearest is named), or what `bind` refuses.
  """
  name = section["name"]
  if not isinstance(name, str) or name not in variants:
    raise ConfigError(unknown(f"value of config key '{where}.name'", name, variants))
  return bind(variants[name], section, where)


def spelled(variants: Mapping[str, type[T]], text: str, key: str) -> T:
  """Returns the variant, with its settings, that a text such as "triplet(margin=0.2)" spells.

  Args:
    variants: name -> frozen dataclass.
    text: a name, and the settings that differ from their defaults.
    key: the config key, for messages.

  Raises:
    ConfigError: not of this form, an unknown name or setting (the nearest are named), or what `bind`
      refuses.
  """
  where = f"config key {key!r}"
  try:
    name, given = read_call(text)
  except ValueError as error:
    raise ConfigError(f"{where}: cannot read {shown(text)}; {error}") from error
  if name not in variants:
    raise ConfigError(f"{where}: " + unknown("value", name, variants))
  known = [field.name for field in _fields(variants[name])]
  for field in given:
    if field not in known:
      raise ConfigError(f"{where}: " + unknown(f"argument of {name}", field, known))
  return bind(variants[name], given, f"{key}: {name}")


def used_keys(settings: Any, where: str) -> set[str]:
  """Returns the dotted config keys of a settings dataclass."""
  return {_dotted(where, field.name) for field in _fields(type(settings))}


def refuse_unused(config: ConfigDict, asked: Iterable[str], used: Iterable[str]) -> None:
  """Raises where a key was set, and nothing in the run uses it.

  Set means given as an override (`asked`), or different from its default. A default that this run
  has no use for (Adam's b2 in a run with SGD) is no error.

  Raises:
    ConfigError: naming each such key, its value, and the keys that are used beside it.
  """
  defaults, values = flatten(default_config()), flatten(config)
  used, asked = set(used), set(asked)
  wrong = [
    key
    for key in sorted(set(values) - used)
    if key in asked or key not in defaults or values[key] != defaults[key]
  ]
  if not wrong:
    return
  lines = []
  for key in wrong:
    section = key.rpartition(".")[0]
    selector = f"{section}.name"
    chosen = f" with {selector}={shown(values[selector])}" if selector in values else ""
    siblings = [n for n in sorted(used) if n.rpartition(".")[0] == section and n != selector]
    lines.append(
      f"config key {key!r} is set to {shown(values[key])}, but nothing in this run reads it{chosen}"
      f" (read there: {', '.join(siblings) or 'nothing'})"
    )
  raise ConfigError("\n".join(lines))


def _dotted(where: str, key: str) -> str:
  return f"{where}.{key}" if where else key


def _fields(cls: Any) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(cls) if field.init]


def _misfit(key: str, value: Any, hint: Any) -> str:
  if typing.get_origin(hint) is Literal and isinstance(value, str):
    return unknown(f"value of config key {key!r}", value, map(str, typing.get_args(hint)))
  return f"config key {key!r} is {shown(value)}; allowed: {allowed(value, hint)}"
