"""Docstrings are plain text with a little Markdown; here they become the reStructuredText of Sphinx."""

from __future__ import annotations

import re
from types import ModuleType

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Examples|Note):$")
# Outside of code, these would begin emphasis, substitutions and references.
_MARKUP = re.compile(r"(`[^`]*`)|([*|]|_\b(?!\w))")


def rewrite(
  app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
  """Escapes characters that are no markup, and shows indented blocks as they are written."""
  new: list[str] = []
  literal = section = False
  for line in lines:
    indented = line.startswith("  ")
    if line and not indented:
      section = bool(_SECTION.match(line))
      if literal:
        new.append("")
      literal = False
    elif indented and not literal and not section:
      new += ["", "::", ""]
      literal = True
    new.append(line if literal else _MARKUP.sub(lambda m: m[1] or "\\" + m[2], line))
  if isinstance(obj, ModuleType):
    new += _contents(obj)
  lines[:] = new


def _contents(module: ModuleType) -> list[str]:
  """Returns links to the names that a package takes from its modules."""
  found = ((name, getattr(module, name)) for name in getattr(module, "__all__", ()))
  homes = [
    (name, f"{value.__module__}.{value.__qualname__}")
    for name, value in found
    if getattr(value, "__module__", module.__name__) != module.__name__
    and hasattr(value, "__qualname__")
  ]
  listed = [f":py:obj:`{name} <{home}>`" for name, home in sorted(homes)]
  return ["", "Public names: " + ", ".join(listed) + ".", ""] if listed else []


def skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
  """Leaves out the fields that Flax adds to every module, and those of tuples, which `Attributes` tell."""
  return skip or name in ("name", "parent", "scope") or type(obj).__name__ == "_tuplegetter"


def setup(app: Sphinx) -> dict[str, bool]:
  """Connects both before Napoleon."""
  app.connect("autodoc-process-docstring", rewrite, priority=400)
  app.connect("autodoc-skip-member", skip)
  return {"parallel_read_safe": True}
