"""The table of models: names to families, with options checked before a network is built.

A family is a module in this folder with `SIZES`, a tuple of model names or a dict by them, and
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
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import natsort
from flax import linen as nn

from cnnlab.annotations import allowed, fit
from cnnlab.errors import ConfigError, shown, unknown
from cnnlab.nn.layers import ACTIVATIONS, NORMS
from cnnlab.register import register
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
  "fcn",
  "unet",
  "pspnet",
  "deeplab",
  "segnet",
  "retinanet",
  "faster_rcnn",
  "policy",
  "probe",
  "autoencoder",
)
OUTPUTS = ("classification", "segmentation", "detection", "policy", "reconstruction")
# Options whose text is a name of these tables, which users add to.
NAMED: Mapping[str, Mapping[str, Any]] = {"norm": NORMS, "act": ACTIVATIONS}


class Option(NamedTuple):
  """An option of a model.

  Attributes:
    type: annotation: int, float, bool, str, Literal[...], tuple[...] or unions with None; numbers
      with their range, see `cnnlab.annotations`.
    default: value in this model.
  """

  type: Any
  default: OptionValue


def _modules() -> list[types.ModuleType]:
  return [importlib.import_module(f"cnnlab.models.{family}") for family in FAMILIES]


@functools.cache
def _table() -> dict[str, types.ModuleType]:
  """Returns model name -> family module; ConfigError if two families claim a name."""
  table: dict[str, types.ModuleType] = {}
  for module in _modules():
    for name in module.SIZES:
      if name in table:
        raise ConfigError(
          f"model {name!r} is defined twice: in {table[name].__name__} and {module.__name__}"
        )
      table[name] = module
  return table


@dataclasses.dataclass(frozen=True)
class Registered:
  """A model of a user's own, in the place of a family's module."""

  model: Callable[..., nn.Module]
  OUTPUT: str

  @property
  def __name__(self) -> str:
    """The module that defines it."""
    return getattr(self.model, "func", self.model).__module__

  def build(self, name: str, **options: OptionValue) -> nn.Module:
    """Returns the net with the given options replaced; ConfigError if it cannot be made."""
    try:
      net = self.model(**options)
    except TypeError as error:
      raise ConfigError(
        f"model {name!r} cannot be built: {error}; each of its fields needs a default"
      ) from error
    if not isinstance(net, nn.Module):
      raise ConfigError(f"model {name!r} is {shown(net)}; allowed: a module of flax.linen")
    return net


_registered: dict[str, Registered] = {}


def register_model(
  name: str,
  model: Callable[..., nn.Module],
  *,
  output: str = OUTPUTS[0],
  replace: bool = False,
) -> None:
  """Makes a model available as `create_model(name)` and `config.model.name`.

  Args:
    name: of the model.
    model: a class of Flax modules whose fields, all with a type and a default, are the options; or a
      function in its place, such as `functools.partial(MyNet, width=2.0)`. `docs/extending.md`
      states what such a module must do, and `cnnlab.testing.check_model` checks it.
    output: what it computes, one of `OUTPUTS`.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: the name is taken, or the output is unknown.
  """
  if output not in OUTPUTS:
    raise ConfigError(unknown("output of a model", output, OUTPUTS))
  register(_names(), "model", name, Registered(model, output), replace=replace)


def _names() -> ChainMap[str, types.ModuleType | Registered]:
  return ChainMap(_registered, _table())  # type: ignore[arg-type]


def list_models(pattern: str = "*", output: str | None = None) -> list[str]:
  """Returns the names of all models that match a shell pattern such as 'resnet*', naturally sorted.

  Args:
    pattern: shell pattern, or a decoder's and a classifier's name, which need not be listed.
    output: one of `OUTPUTS`, only models that compute this.
  """
  names = natsort.natsorted(fnmatch.filter(_names(), pattern))
  if not names and _decoders(pattern):
    names = [pattern]
  return [name for name in names if output is None or output_of(name) == output]


def family_of(name: str) -> str:
  """Returns the family's module name; ConfigError for an unknown model."""
  return module_of(name).rpartition(".")[2]


def module_of(name: str) -> str:
  """Returns the module in which a model is defined; ConfigError for an unknown model."""
  return _family(name).__name__


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


def _family(name: str) -> types.ModuleType | Registered:
  table = _names()
  found = (table.get(name) or _decoders(name)) if isinstance(name, str) else None
  if found is None:
    raise ConfigError(unknown("model", name, table))
  return found


def _decoders(name: str) -> types.ModuleType | None:
  """Returns the family of a name such as 'unet_resnet34' that no family lists."""
  table = _names()
  for module in _modules():
    for decoder in getattr(module, "DECODERS", ()):
      encoder = name.removeprefix(f"{decoder}_")
      if encoder != name and encoder in table and not hasattr(table[encoder], "DECODERS"):
        return module
  return None


def model_options(name: str) -> dict[str, Option]:
  """Returns the options of a model in the order of its fields; ConfigError if it is unknown."""
  return options_of(_family(name).build(name))


def options_of(net: nn.Module) -> dict[str, Option]:
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
  left_out = {*found, "num_classes", *getattr(encoder, "HEAD_OPTIONS", ())}
  return found | {key: value for key, value in options_of(encoder).items() if key not in left_out}


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
      raise ConfigError(_no_such_option(name, key, options))
    what = f"option {key!r} of model {name!r}"
    checked[key] = _checked(what, value, options[key].type)
    names = {*NAMED.get(key, ()), options[key].default}
    if key in NAMED and options[key].type is str and checked[key] not in names:
      raise ConfigError(unknown(f"value of {what}", value, names))
  return family.build(name, **checked)


def _no_such_option(name: str, key: str, options: Mapping[str, Option]) -> str:
  if key in ("pretrained", "weights") and not isinstance(_family(name), Registered):
    return (
      f"model {name!r} has no option {key!r}: convert published weights once with `cnnlab convert "
      f"--model={name} --weights=FILE.pth --out=runs/{name}`, then start from them with "
      f"config.init_from='runs/{name}' or use cnnlab.runs.load('runs/{name}')"
    )
  return unknown(f"option of model {name!r}", key, options)


def _checked(what: str, value: OptionValue, hint: Any) -> OptionValue:
  """Returns `value` converted to the annotated type; ConfigError if it does not fit."""
  fitted, ok = fit(value, hint)
  if ok:
    return fitted
  if typing.get_origin(hint) is Literal:
    choices = typing.get_args(hint)
    if isinstance(value, str):
      raise ConfigError(unknown(f"value of {what}", value, [str(choice) for choice in choices]))
    raise ConfigError(f"{what}: {shown(value)} is not one of {', '.join(map(repr, choices))}")
  raise ConfigError(f"{what}: {shown(value)} is not {allowed(value, hint)}")
