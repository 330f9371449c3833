"""Modules of the user's own, imported because a command or a config page names them.

`--import my_net` and the config key `imports` name modules that register models, norms, tasks, data
sets and the like. A name is dotted, and found in the current directory or on Python's path, or it is
the path of a .py file.

A run's directory may come from somebody else, so it does not speak for the user. Reading it imports
nothing. Where its network is built again (`eval`, `predict`, `load(...).model`), the modules that it
recorded are imported if they are found by their dotted names, outside of packages that hold the run
itself; a file is executed only if the command, a config page or Python code names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from cnnlab.errors import CnnlabError, ConfigError, RunError, shown, unknown
from cnnlab.types import JsonMapping

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[None]:
  """Returns a context in which the modules in a folder can be imported."""
  path = str(folder)
  sys.path.insert(0, path)
  try:
    yield
  finally:
    with contextlib.suppress(ValueError):
      sys.path.remove(path)


def line_of(error: BaseException, path: str) -> int | None:
  """Returns the line of a Python file at which an error arose, None if it arose outside of it."""
  if isinstance(error, SyntaxError) and error.filename == path:
    return error.lineno
  frames = traceback.extract_tb(error.__traceback__)
  return next((frame.lineno for frame in reversed(frames) if frame.filename == path), None)


def located(names: Iterable[str], folder: Path) -> tuple[str, ...]:
  """Returns names of modules as other processes find them.

  Args:
    names: dotted, or of .py files.
    folder: where files are looked for first, such as that of a config page.

  Returns:
    For a file, and for a name without dots that is one in the folder, the absolute path; the name
    alone where that is the current directory.
  """
  return tuple(_located(name, folder) if isinstance(name, str) else name for name in names)


def _located(name: str, folder: Path) -> str:
  given = Path(name if name.endswith(".py") else f"{name}.py")
  with contextlib.suppress(OSError, ValueError):
    for file in (folder / given, given):
      if file.is_file() and (name.endswith(".py") or file.parent == folder):
        file = file.absolute()
        return file.stem if file.parent == Path.cwd() else str(file)
  return name


def import_modules(names: Iterable[str], option: str = "config key 'imports'") -> None:
  """Imports modules by dotted name or by the path of a .py file.

  The current directory, or the folder of the file, stays on `sys.path`: modules beside are found, and
  so are these in processes that this one starts.

  Args:
    names: of the modules.
    option: where they are named, for messages.

  Raises:
    ConfigError: there is no such module, or it raises an error; the message names its line.
  """
  for name in names:
    try:
      _import(name)
    except ConfigError as error:
      raise ConfigError(f"{option}: {error}") from error


def _import(name: str) -> ModuleType:
  module, folder = _module_and_folder(name)
  if str(folder) not in sys.path:
    sys.path.insert(0, str(folder))
  importlib.invalidate_caches()  # it may have been written a moment ago
  try:
    found = importlib.import_module(module)
  except CnnlabError:
    raise
  except (Exception, SystemExit) as error:
    raise ConfigError(_why(name, module, folder, error)) from error
  if name.endswith(".py") and _file(found) != str(folder / f"{module}.py"):
    raise ConfigError(
      f"cannot import {shown(name)}: another module {module!r} is loaded, from {_file(found)}; rename "
      "the file"
    )
  return found


def _module_and_folder(name: str) -> tuple[str, Path]:
  """Returns the dotted name under which a module is imported, and the folder to look in first."""
  if not isinstance(name, str) or not name.endswith(".py"):
    if not isinstance(name, str) or not _DOTTED.fullmatch(name):
      raise ConfigError(
        f"cannot import {shown(name)}; allowed: a module's name such as my_net or pkg.my_net, or the "
        "path of a .py file"
      )
    return name, Path.cwd()
  file = Path(name).absolute()
  with contextlib.suppress(OSError, ValueError):
    if file.is_file():
      if not _DOTTED.fullmatch(file.stem) or "." in file.stem:
        raise ConfigError(f"cannot import {shown(name)}: {file.stem!r} is no name of a module")
      return file.stem, file.parent
  raise ConfigError(unknown("file to import", name, _modules_in(file.parent, ".py")))


def _why(name: str, module: str, folder: Path, error: BaseException) -> str:
  """Returns in one line why a module cannot be imported."""
  if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
    return f"{unknown('module to import', name, _modules_in(folder))} (in {folder}), or one on Python's path"
  file = str(folder / f"{module.replace('.', '/')}.py")
  with contextlib.suppress(Exception):
    spec = importlib.util.find_spec(module)
    file = (spec.origin if spec else None) or file
  line = line_of(error, file)
  where = f"{file}, line {line}" if line else file
  said = " ".join(str(error).split())[:500]
  return f"{where}: {type(error).__name__}: {said}"


def _modules_in(folder: Path, suffix: str = "") -> list[str]:
  with contextlib.suppress(OSError):
    return [file.stem + suffix for file in folder.glob("*.py")]
  return []


def _file(module: ModuleType) -> str:
  return str(getattr(module, "__file__", None) or "")


def import_recorded(config: JsonMapping, directory: str | Path) -> None:
  """Imports the modules that a run recorded, where this is safe; see the module's docstring.

  A module of the same name that is loaded already, as by `--import` or `import`, stands for it.

  Args:
    config: of the run's config.json.
    directory: of the run.

  Raises:
    RunError: one cannot be imported; the message says what to import, and where it was.
  """
  names = config.get("imports") or ()
  files = config.get("derived", {}).get("imports") or ()
  for name, file in itertools.zip_longest(names, files[: len(names)]):
    last = Path(name).stem if str(name).endswith(".py") else str(name).rpartition(".")[2]
    if name in sys.modules or last in sys.modules:
      continue
    try:
      _refuse_untrusted(name, Path(directory).resolve())
      _import(name)
    except ConfigError as error:
      raise RunError(
        f"{directory} was trained with the module {shown(name)}{f' ({file})' if file else ''}, which is "
        f"not imported: {error}. Name it with --import=MODULE, or import it in Python first"
      ) from error


def _refuse_untrusted(name: str, directory: Path) -> None:
  """Raises ConfigError for a file, and for a package that the run itself lies in."""
  if not isinstance(name, str) or not _DOTTED.fullmatch(name) or name.endswith(".py"):
    raise ConfigError("a file is not executed because a run names it")
  top = name.partition(".")[0]
  with beside(Path.cwd()):
    spec = importlib.util.find_spec(top)
  for place in (spec.submodule_search_locations or ()) if spec else ():
    if directory.is_relative_to(Path(place).resolve()):
      raise ConfigError(f"{place} holds the run itself, and may have come with it")


def origins(names: Iterable[str]) -> list[str]:
  """Returns the file of each module that is imported, for the record."""
  return [_file(sys.modules[_module_and_folder(name)[0]]) for name in names]


def code_digest(names: Iterable[str]) -> str:
  """Returns a hash of the source of modules, and of the files beside them, without importing them."""
  digest = hashlib.sha256()
  for name in names:
    module, folder = _module_and_folder(name)
    with beside(folder), contextlib.suppress(ImportError, OSError):
      spec = importlib.util.find_spec(module)
      place = Path(spec.origin if spec and spec.origin else folder).parent
      for file in sorted(place.glob("*.py")):
        digest.update(file.read_bytes())
  return digest.hexdigest()
