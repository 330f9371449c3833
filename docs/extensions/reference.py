"""Pages of the reference: one for each package of cnnlab, with all of its modules."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

import cnnlab

PACKAGE = Path(cnnlab.__file__).parent


def write_pages(app: Sphinx) -> None:
  """Writes `reference/`."""
  folder = Path(app.srcdir) / "reference"
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  packages = [PACKAGE, *(p for p in sorted(PACKAGE.iterdir()) if p.name != "experiments")]
  listed = [package for package in packages if (package / "__init__.py").is_file()]
  for package in listed:
    _write(package, folder)
  names = "".join(f"   {_name(package)}\n" for package in listed)
  (folder / "index.rst").write_text(
    f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 2\n\n{names}"
  )


def _name(package: Path) -> str:
  return ".".join(package.relative_to(PACKAGE.parent).parts)


def _write(package: Path, folder: Path) -> None:
  name = _name(package)
  inner = [p.parent for p in sorted(package.glob("*/__init__.py"))] if package != PACKAGE else []
  for each in inner:
    _write(each, folder)
  modules = [p.stem for p in sorted(package.glob("*.py")) if not p.stem.startswith("_")]
  sections = [_section(name, "=")] + [_section(f"{name}.{module}", "-") for module in modules]
  if inner:
    listed = "".join(f"   {name}.{each.name}\n" for each in inner)
    sections.insert(1, f".. toctree::\n   :hidden:\n\n{listed}")
  (folder / f"{name}.rst").write_text("\n".join(sections), encoding="utf-8")


def _section(module: str, underline: str) -> str:
  line = underline * len(module)
  return f"{module}\n{line}\n\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n"


def setup(app: Sphinx) -> dict[str, bool]:
  """Connects the writer."""
  app.connect("builder-inited", write_pages)
  return {"parallel_read_safe": True}
