"""The table of models: names to families, with options checked before a network is built.

A family is a module in this folder with `SIZES`, a dict of model name -> anything, and
`build(name, **options)`, which returns a Flax module whose fields are the options. `OUTPUT` is what
its models compute, 'classification' by default.

A family of decoders has `DECODERS`, a dict of name -> anything, and can be built around every
classifier: `unet_resnet34`, whether `SIZES` lists it or not. Its network's field `encoder` is the
classifier, whose options are the network's too.
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
OUTPUTS = ("classification", "segmentation")


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


def list_models(pattern: str = "*", output: str | None = None) -> list[str]:
  """Returns the names of all models that match a shell pattern such as 'resnet*', naturally sorted.

  Args:
    pattern: shell pattern.
    output: one of `OUTPUTS`, only models that compute this.
  """
  names = natsort.natsorted(fnmatch.filter(_table(), pattern))
  return [name for name in names if output is None or output_of(name) == output]


def family_of(name: str) -> str:
  """Returns the family's module name; ConfigError for an unknown model."""
  return _family(name).__name__.rpartition(".")[2]


def output_of(name: str) -> str:
  """Returns what a model computes, one of `OUTPUTS`; ConfigError for an unknown model."""
  return getattr(_family(name), "OUTPUT", OUTPUTS[0])


def require_output(name: str, output: str) -> None:
  """Raises ConfigError unless the model computes `output`, one of `OUTPUTS`."""
  if (found := output_of(name)) != output:
    raise ConfigError(
      f"config key 'model.name': {name!r} is a network for {found}, not for {output}; allowed: "
      f"those that `cnnlab models --output {output}` lists"
    )


def _family(name: str) -> types.ModuleType:
  table = _table()
  if isinstance(name, str):
    if name in table:
      return table[name]
    for module in dict.fromkeys(table.values()):
      for decoder in getattr(module, "DECODERS", ()):
        if name.startswith(f"{decoder}_"):
          encoder = table.get(name.removeprefix(f"{decoder}_"))
          if encoder is not None and not hasattr(encoder, "DECODERS"):
            return module
  raise ConfigError(unknown("model", name, table))


def model_options(name: str) -> dict[str, Option]:
  """Returns the options of a model in the order of its fields; ConfigError if it is unknown."""
  return _options(_family(name).build(name))


def _options(net: nn.Module) -> dict[str, Option]:
  """Returns the options of a net and of its encoder, except for those of the encoder's own head."""
  hints = typing.get_type_hints(type(net), include_extras=True)
  found = {
    field.name: Option(hints[field.name], getattr(net, field.name))
    for field in dataclasses.fields(net)
    if field.init and field.name not in ("parent", "name", "encoder")
  }
  encoder = getattr(net, "encoder", None)
  if encoder is None:
    return found
  left_out = {*found, *getattr(encoder, "HEAD_OPTIONS", ())}
  return found | {key: value for key, value in _options(encoder).items() if key not in left_out}


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
