"""The table of models: names to families, with options checked before a network is built.

A family is a module in this folder with `SIZES`, a dict of model name -> anything, and
`build(name, **options)`, which returns a Flax module whose fields are the options.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib
import types
import typing
from typing import Any, Literal, NamedTuple

import natsort
from flax import linen as nn

from cnnlab.annotations import allowed, fit
from cnnlab.errors import ConfigError, shown, unknown
from cnnlab.types import OptionValue

FAMILIES: tuple[str, ...] = (
  "alexnet",
  "all_cnn",
  "googlenet",
  "lenet",
  "vgg",
  "zfnet",
  "grammar",
  "densenet",
  "highway",
  "resnet",
  "resnet_cifar",
  "vit",
)


class Option(NamedTuple):
  """An option of a model.

  Attributes:
    type: annotation: int, float, bool, str, Literal[...], tuple[...] or unions with None; numbers
      with their range, see `cnnlab.annotations`.
    default: value in this model.
  """

  type: Any
  default: OptionValue


@functools.cache
def _table() -> dict[str, types.ModuleType]:
  """Returns model name -> family module; ConfigError if two families claim a name."""
  table: dict[str, types.ModuleType] = {}
  for family in FAMILIES:
    module = importlib.import_module(f"cnnlab.models.{family}")
    for name in module.SIZES:
      if name in table:
        raise ConfigError(
          f"model {name!r} is defined twice: in {table[name].__name__} and {module.__name__}"
        )
      table[name] = module
  return table


def list_models(pattern: str = "*") -> list[str]:
  """Returns the names of all models that match a shell pattern such as 'resnet*', naturally sorted."""
  return natsort.natsorted(fnmatch.filter(_table(), pattern))


def family_of(name: str) -> str:
  """Returns the family's module name; ConfigError for an unknown model."""
  return _family(name).__name__.rpartition(".")[2]


def _family(name: str) -> types.ModuleType:
  table = _table()
  if not isinstance(name, str) or name not in table:
    raise ConfigError(unknown("model", name, table))
  return table[name]


def model_options(name: str) -> dict[str, Option]:
  """Returns the options of a model in the order of its fields; ConfigError if it is unknown."""
  net = _family(name).build(name)
  hints = typing.get_type_hints(type(net), include_extras=True)
  return {
    field.name: Option(hints[field.name], getattr(net, field.name))
    for field in dataclasses.fields(net)
    if field.init and field.name not in ("parent", "name")
  }


def create_model(name: str, **overrides: OptionValue) -> nn.Module:
  """Builds a model.

  Args:
    name: see `list_models`.
    **overrides: options, see `model_options`. Lists become tuples, and integers become floats
      where a float is expected.

  Raises:
    ConfigError: for an unknown model or option, with the nearest known ones, and for a value of
      the wrong type, out of range or outside of the choices.
  """
  family = _family(name)
  options = model_options(name)
  checked = {}
  for key, value in overrides.items():
    if key not in options:
      raise ConfigError(unknown(f"option of model {name!r}", key, options))
    checked[key] = _checked(f"option {key!r} of model {name!r}", value, options[key].type)
  return family.build(name, **checked)


def _checked(what: str, value: OptionValue, hint: Any) -> OptionValue:
  """Returns `value` converted to the annotated type; ConfigError if it does not fit."""
  fitted, ok = fit(value, hint)
  if ok:
    return fitted
  if typing.get_origin(hint) is Literal:
    choices = typing.get_args(hint)
    if isinstance(value, str):
      raise ConfigError(unknown(what, value, [str(choice) for choice in choices]))
    raise ConfigError(f"{what}: {shown(value)} is not one of {', '.join(map(repr, choices))}")
  raise ConfigError(f"{what}: {shown(value)} is not {allowed(value, hint)}")
