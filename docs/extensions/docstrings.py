"""Docstrings are plain text with a little Markdown; here they become the reStructuredText of Sphinx."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterator
from types import ModuleType

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Examples|Note):$")
# Code; what would begin emphasis, substitutions or references outside of it.
_MARKUP = re.compile(r"(\w?)(``.+?``|`[^`]*`)(?=(\w?))|([*|]|_\b(?!\w))")


def rewrite(
  app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
  """Escapes characters that are no markup, and shows indented blocks as they are written."""
  new: list[str] = []
  for literal, block in itertools.groupby(_marked(lines), key=operator.itemgetter(0)):
    text = "\n".join(line for _, line in block)
    new += ["", "::", "", text, ""] if literal else [_MARKUP.sub(_escape, text)]
  if isinstance(obj, ModuleType):
    new += _contents(obj)
  lines[:] = "\n".join(new).split("\n")


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
  """Yields each line with whether it belongs to a block that is indented, but not in a section."""
  literal = section = False
  for line in lines:
    if line and not line.startswith("  "):
      section = bool(_SECTION.match(line))
    if line:
      literal = line.startswith("  ") and not section
    yield literal, line


def _escape(found: re.Match[str]) -> str:
  if not found[2]:
    return "\\" + found[4]
  before = found[1] + "\\ " if found[1] else ""
  return before + found[2] + ("\\ " if found[3] else "")


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
