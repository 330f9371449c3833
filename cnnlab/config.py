"""Config pages: load one, and override it by dotted keys.

A page is a Python file with `get_config(arg='') -> ConfigDict`, named on the command
line as `configs/cifar.py:resnet20`, or `cifar:resnet20` for one of cnnlab's own. Every key and its default stands in
`cnnlab/defaults.py`; the sections `model` and `task` are open, since their keys are the options of
the model (`cnnlab.models.model_options`) and the task that they name.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnlab.errors import CnnlabError, ConfigError, shown, unknown
from cnnlab.imports import beside, import_modules, line_of, located

# Their keys are checked by the model registry and by the chosen task, not by the page.
OPEN_SECTIONS = ("model", "task")
EITHER_SIZE = ("data.image_size", "data.resize")  # a side, or (height, width)
_PACKAGE = Path(__file__).resolve().parent


def load_page(page: str) -> ConfigDict:
  """Returns the config of a page given as `path.py`, `path.py:argument` or `name:argument`.

  A relative path is looked for in the working directory, then in cnnlab. A name is that of a page
  in `cnnlab/configs`. Modules beside the page are found by it, and those that its key `imports` names
  are imported.

  Raises:
    ConfigError: no such file, no `get_config` in it, or anything that the page itself or a module of
      its `imports` raises; the message names the line.
  """
  path, _, argument = page.partition(":")
  # `os.path` has False for names that no file can have, where `Path` raises.
  places = (path, str(_PACKAGE / path), str(_PACKAGE / "configs" / f"{path}.py"))
  found = next((p for p in places if os.path.isfile(p)), None)
  if found is None:
    names = [p.stem for p in (_PACKAGE / "configs").glob("*.py") if p.stem != "__init__"]
    pages = [f"configs/{name}.py" for name in names] if os.sep in path else names
    kind = "config page (this is a folder)" if path and os.path.isdir(path) else "config page"
    raise ConfigError(unknown(kind, path, pages))
  spec = importlib.util.spec_from_file_location(f"cnnlab_page_{Path(found).stem}", found)
  if spec is None or spec.loader is None:
    raise ConfigError(f"{path}: not a Python file")
  module = importlib.util.module_from_spec(spec)
  folder = Path(found).absolute().parent
  try:
    with beside(folder):
      spec.loader.exec_module(module)
      if not callable(getattr(module, "get_config", None)):
        raise ConfigError(f"{path}: defines no function get_config(arg='')")
      config = module.get_config(argument)
  except CnnlabError:
    raise
  except (Exception, SystemExit) as error:
    line = line_of(error, found)
    where = path if line is None else f"{path}:{line}"
    raise ConfigError(f"{where}: {_first_line(error)}") from error
  _require_whole(path, config)
  config.imports = located(config.imports, folder)
  import_modules(config.imports)
  return config


def _first_line(error: BaseException) -> str:
  """Returns what an error says, in one line."""
  lines = str(error.args[0] if error.args else error).strip().splitlines() or [""]
  if key := re.match(r"'?Key \"(.*?)\" does not exist", lines[0]):  # ConfigDict lists all there are
    from cnnlab.defaults import default_config

    return unknown(
      "config key", key[1], (name.rpartition(".")[2] for name in flatten(default_config()))
    )
  # The forms of a page are refused by KeyError, whose name says nothing.
  kind = "" if isinstance(error, KeyError) else f"{type(error).__name__}: "
  return kind + lines[0][:500]


def _require_whole(path: str, config: Any) -> None:
  """Raises ConfigError where a page does not have the sections and keys of the default one."""
  from cnnlab.defaults import default_config

  start = "a page starts from cnnlab.defaults.default_config()"
  if not isinstance(config, ConfigDict):
    raise ConfigError(f"{path}: get_config returned {shown(config)}, not a ConfigDict; {start}")
  for key, value in default_config().items():
    if key not in config or isinstance(config[key], ConfigDict) != isinstance(value, ConfigDict):
      given = f"is {shown(config[key])}" if key in config else "is missing"
      raise ConfigError(f"{path}: config key {key!r} {given}; {start}")
    if isinstance(value, ConfigDict):
      needed = ["name"] if key in OPEN_SECTIONS else value
      if missing := [f"{key}.{name}" for name in needed if name not in config[key]]:
        raise ConfigError(f"{path}: config key {missing[0]!r} is missing; {start}")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns `{dotted.key: value}` of every leaf of a nested config."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, (ConfigDict, Mapping)):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[prefix + key] = value
  return flat


def to_plain(config: ConfigDict) -> dict[str, Any]:
  """Returns the config as JSON holds it: nested dicts, tuples as lists.

  Raises:
    ConfigError: a value that JSON cannot hold.
  """

  def refuse(value: Any) -> Any:
    raise ConfigError(
      f"the config holds {shown(value)}; allowed: numbers, text, True, False, None, and tuples, "
      "lists and dicts of these"
    )

  try:
    return json.loads(json.dumps(config.to_dict(), default=refuse))
  except (TypeError, ValueError, RecursionError) as error:  # dicts with other keys than text
    raise ConfigError(f"the config cannot be written as JSON: {error}") from error


def parse_value(text: str, like: Any = None) -> Any:
  """Returns the value that `text` spells: a Python literal, else the text itself.

  Args:
    text: as written on the command line; `true` and `false` in any case. `None` is Python's, while
      `none` is the text, which names a norm and an activation.
    like: the value that it replaces; where this is a string, the text is taken as it is.
  """
  if isinstance(like, str):
    return text
  named = {"true": True, "false": False}
  if text.lower() in named:
    return named[text.lower()]
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
    return text


def parse_overrides(arguments: Iterable[str], config: ConfigDict) -> dict[str, Any]:
  """Returns `{dotted.key: value}` of arguments such as `--config.optim.momentum=0.8`.

  `--import=NAME` adds a module to those that the config names.

  Raises:
    ConfigError: an argument of another form.
  """
  current = flatten(config)
  overrides: dict[str, Any] = {}
  for argument in arguments:
    name, equals, text = argument.partition("=")
    if name == "--import":
      before = overrides.get("imports", config.imports)
      overrides["imports"] = (*before, *located([text], Path.cwd()))
      continue
    if not name.startswith("--config.") or not equals:
      raise ConfigError(f"cannot read {shown(argument)}: an override is written --config.KEY=VALUE")
    key = name.removeprefix("--config.")
    overrides[key] = parse_value(text, current.get(key))
  return overrides


def apply_overrides(config: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
  """Returns a copy of the config with the dotted keys set.

  Raises:
    ConfigError: an unknown key (the nearest ones are named) or a value of another type.
  """
  changed = ConfigDict(config.to_dict())
  known = flatten(config)
  for key, value in overrides.items():
    *sections, leaf = key.split(".")
    if len(sections) == 1 and sections[0] in OPEN_SECTIONS:
      with changed.unlocked():
        # Set anew: ConfigDict would turn True into the 1.0 of a float that was there.
        if leaf in changed[sections[0]]:
          del changed[sections[0]][leaf]
        changed[sections[0]][leaf] = value
      continue
    if key not in known:
      near = [name for name in known if name.rpartition(".")[0] == ".".join(sections)]
      raise ConfigError(unknown("config key", key, (sections and near) or known, limit=60))
    target = changed
    for section in sections:
      target = target[section]
    with changed.ignore_type():  # `_as_type` has checked it
      target[leaf] = _as_type(key, value, known[key])
  return changed


def _as_type(key: str, value: Any, old: Any) -> Any:
  """Returns the value in the type of the one that it replaces; an int is taken for a float."""
  if key in EITHER_SIZE and isinstance(value, (list, tuple)):
    return tuple(value)
  if key in EITHER_SIZE and isinstance(value, int):
    return value
  if isinstance(old, tuple) and isinstance(value, (list, tuple)):
    return tuple(value)
  if isinstance(old, tuple) and isinstance(value, (int, float, str, dict)):
    return (value,)
  if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if type(value) is not type(old):
    raise ConfigError(
      f"config key {key!r} takes {type(old).__name__} (such as {shown(old)}), not {shown(value)}"
    )
  return value


def upgrade_saved(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a run's saved config with the keys of today: renamed ones, and defaults of new ones."""
  from cnnlab.defaults import default_config

  upgraded = json.loads(json.dumps(dict(config)))
  data = upgraded.get("data", {})
  if "centring" in data:
    data["centering"] = data.pop("centring")
  for key, value in to_plain(default_config()).items():
    if isinstance(value, dict) and key not in OPEN_SECTIONS:
      upgraded[key] = value | upgraded.get(key, {})
    elif not isinstance(value, dict):
      upgraded.setdefault(key, value)
  return upgraded
