"""The house rules that a machine can check: who imports whom, how long things are, what is documented."""

import ast
import pathlib

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
# Each room may import only from those before it.
ROOMS = (
  "cnnlab.types",
  "cnnlab.errors",
  "cnnlab.signals",
  "cnnlab.terminal",
  "cnnlab.annotations",
  "cnnlab.cache_root",
  "cnnlab.capacity",
  "cnnlab.memory",
  "cnnlab.metrics",
  "cnnlab.plot_style",
  "cnnlab.calls",
  "cnnlab.register",
  "cnnlab.imports",
  "cnnlab.panels",
  "cnnlab.defaults",
  "cnnlab.config",
  "cnnlab.settings",
  "cnnlab.go",
  "cnnlab.native",
  "cnnlab.nn",
  "cnnlab.boxes",
  "cnnlab.crf",
  "cnnlab.models",
  "cnnlab.testing",
  "cnnlab.weights",
  "cnnlab.proposals",
  "cnnlab.tasks",
  "cnnlab.data",
  "cnnlab.runs",
  "cnnlab.train",
  "cnnlab.codes",
  "cnnlab.bench",
  "cnnlab.inspect",
  "cnnlab.lab",
  "cnnlab.configs",
  "cnnlab.experiments",
  "cnnlab.launch",
  "cnnlab.cli",
)
# Folders of the repository that `cnnlab` holds as links, and the wheel as folders.
LINKED = ("configs", "experiments", "launch")
LIBRARY = sorted(path for room in ("cnnlab", *LINKED) for path in (PROJECT / room).rglob("*.py"))
SOURCES = LIBRARY + sorted((PROJECT / "tests").rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES, MOST_ARGUMENTS = 400, 80, 8


def ids(path):
  return str(path.relative_to(PROJECT))


def dotted(path):
  parts = path.relative_to(PROJECT).with_suffix("").parts
  within = ("cnnlab",) if parts[0] in LINKED else ()
  return ".".join(within + parts).removesuffix(".__init__")


def room_of(module):
  found = [room for room in ROOMS if module == room or module.startswith(room + ".")]
  return ROOMS.index(found[0]) if found else None


def imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield from (
        f"{node.module}.{alias.name}" if node.module in ("cnnlab", "cnnlab.launch") else node.module
        for alias in node.names
      )


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_linked_folders_are_imported_as_parts_of_cnnlab(path):
  others = {name for name in imports(path) if name.partition(".")[0] in LINKED}
  assert not others, f"import cnnlab.{sorted(others)[0]}: the wheel has it there alone"


def functions(path):
  tree = ast.parse(path.read_text())
  return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", LIBRARY, ids=ids)
def test_a_room_imports_only_from_those_above_it(path):
  own = room_of(dotted(path))
  if own is None:
    pytest.skip("the package's front door")
  below = {name for name in imports(path) if (other := room_of(name)) is not None and other > own}
  assert not below, f"{ids(path)} is in {ROOMS[own]} and imports {sorted(below)}"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_file_fits_one_reading_and_a_function_a_screen(path):
  assert len(path.read_text().splitlines()) <= MOST_LINES
  for node in functions(path):
    lines = node.end_lineno - node.lineno + 1
    count = len(node.args.args) + len(node.args.kwonlyargs)
    assert lines <= MOST_FUNCTION_LINES, f"{node.name} has {lines} lines"
    assert count <= MOST_ARGUMENTS + (node.args.args[:1] != [] and node.args.args[0].arg == "self")


@pytest.mark.parametrize("path", LIBRARY, ids=ids)
def test_what_is_public_is_documented(path):
  tree = ast.parse(path.read_text())
  assert path.name == "__init__.py" or ast.get_docstring(tree), "the module has no docstring"
  for node in tree.body:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
      assert ast.get_docstring(node), f"{node.name} has no docstring"
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
      assert node.returns is not None, f"{node.name} does not say what it returns"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_docstring_begins_in_plain_english(path):
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(ast.parse(path.read_text())):
    text = (isinstance(node, kinds) and ast.get_docstring(node)) or ""
    assert not text.startswith(("Says ", "Has ", "Lets ", "Takes in ")), text.splitlines()[0]
