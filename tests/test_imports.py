"""Modules that a command, a page or a run names: which are imported, and what is said of the others."""

import importlib
import sys
import textwrap

import pytest

from cnnlab import imports
from cnnlab.config import load_page, parse_overrides
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError, RunError


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
  """The current directory, empty; modules that a test imports are forgotten after it."""
  loaded, path = set(sys.modules), list(sys.path)
  (tmp_path / "project").mkdir()
  monkeypatch.chdir(tmp_path / "project")
  yield tmp_path / "project"
  sys.path[:] = path
  for name in set(sys.modules) - loaded:
    del sys.modules[name]
  importlib.invalidate_caches()


def write(file, text=""):
  file.parent.mkdir(parents=True, exist_ok=True)
  file.write_text(textwrap.dedent(text))
  return str(file)


def test_a_module_is_found_in_the_current_directory_and_in_packages(project):
  write(project / "plain_module_a.py", "import helper_module_a")
  write(project / "helper_module_a.py")
  write(project / "pkg_a" / "net.py", "from pkg_a.inner import VALUE")
  write(project / "pkg_a" / "inner.py", "VALUE = 3")
  imports.import_modules(["plain_module_a", "pkg_a.net"])
  assert sys.modules["pkg_a.net"].VALUE == 3
  assert "helper_module_a" in sys.modules
  assert imports.origins(["plain_module_a"]) == [str(project / "plain_module_a.py")]


def test_a_file_is_imported_under_its_own_name_so_that_workers_find_it(project):
  file = write(project / "deep" / "file_module_a.py", "import beside_module_a")
  write(project / "deep" / "beside_module_a.py")
  imports.import_modules(["deep/file_module_a.py"])
  imports.import_modules([file])  # once more is no error
  assert sys.modules["file_module_a"].__file__ == file
  assert str(project / "deep") in sys.path


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("my_nett_a", "unknown module to import 'my_nett_a'; did you mean 'my_net_a'"),
    ("no_pkg_a.net", "unknown module to import 'no_pkg_a.net'"),
    ("my_nett_a.py", r"unknown file to import 'my_nett_a\.py'; did you mean 'my_net_a\.py'"),
    ("my-net.py", "'my-net' is no name of a module"),
    ("os; print(1)", "cannot import 'os; print.*allowed: a module's name"),
    ("", "allowed: a module's name"),
    ("breaks_a", r"breaks_a\.py, line 3: ZeroDivisionError: division by zero"),
    ("breaks_a.py", r"breaks_a\.py, line 3: ZeroDivisionError"),
    ("garbled_a", r"garbled_a\.py, line 2: SyntaxError"),
    ("needs_a", r"needs_a\.py, line 1: ModuleNotFoundError: No module named 'not_installed_a'"),
    ("leaves_a", r"leaves_a\.py, line 1: SystemExit: 3"),
    ("other/json.py", r"another module 'json' is loaded, from .*; rename the file"),
  ],
)
def test_what_cannot_be_imported_is_one_line(project, name, message):
  write(project / "my_net_a.py")
  write(project / "my-net.py")
  write(project / "breaks_a.py", "one = 1\n\none / 0")
  write(project / "garbled_a.py", "one = 1\ntwo = = 2")
  write(project / "needs_a.py", "import not_installed_a")
  write(project / "leaves_a.py", "raise SystemExit(3)")
  write(project / "other" / "json.py")
  importlib.import_module("json")
  with pytest.raises(ConfigError, match=message) as raised:
    imports.import_modules([name])
  assert len(str(raised.value).splitlines()) == 1


def test_a_page_names_modules_beside_it_and_the_command_adds_others(project, tmp_path):
  page = write(
    tmp_path / "pages" / "page.py",
    """
    from cnnlab.defaults import default_config
    from page_helper_a import SEED

    def get_config(arg=""):
      config = default_config()
      config.seed = SEED
      config.imports = ("page_module_a",)
      return config
    """,
  )
  write(tmp_path / "pages" / "page_helper_a.py", "SEED = 7")
  file = write(tmp_path / "pages" / "page_module_a.py")
  config = load_page(page)
  assert (config.seed, config.imports) == (7, (file,))
  assert "page_module_a" in sys.modules
  write(project / "mine_a.py")
  write(project / "sub" / "mine_b.py")
  given = ["--import=mine_a.py", "--import=sub/mine_b.py", "--import=pkg.mine_c"]
  overrides = parse_overrides(given, config)
  assert overrides == {
    "imports": (file, "mine_a", str(project / "sub" / "mine_b.py"), "pkg.mine_c")
  }
  assert parse_overrides(["--import=mine_a"], default_config()) == {"imports": ("mine_a",)}


def test_a_run_imports_what_is_found_by_name_outside_of_it(project):
  write(project / "known_a.py")
  imports.import_recorded({"imports": ["known_a"]}, project / "runs" / "x")
  assert "known_a" in sys.modules


def test_a_run_that_cannot_import_says_what_and_where_it_was(project):
  config = {"imports": ["gone_a"], "derived": {"imports": ["/there/gone_a.py"]}}
  with pytest.raises(RunError) as raised:
    imports.import_recorded(config, "runs/x")
  message = str(raised.value)
  assert message.startswith("runs/x was trained with the module 'gone_a' (/there/gone_a.py), which")
  assert message.endswith("Name it with --import=MODULE, or import it in Python first")
  assert len(message.splitlines()) == 1
  file = write(project / "moved" / "gone_a.py")
  imports.import_modules([file])  # the same module, from another place
  imports.import_recorded(config, "runs/x")


@pytest.mark.parametrize("package", [True, False])
def test_no_code_that_came_with_a_run_is_executed(project, package):
  """Somebody's run, with code in its folder, lies below the current directory."""
  boom = "raise RuntimeError('executed')"
  file = write(project / "downloads" / "run" / "evil_a.py", boom)
  write(project / "downloads" / "evil_b.py", boom)
  if package:
    write(project / "downloads" / "__init__.py", boom)
  names = [
    file,
    "downloads/run/evil_a.py",
    "downloads.run.evil_a",
    "downloads.evil_b",
    "__main__;x",
    3,
  ]
  for name in names:
    with pytest.raises(
      RunError, match="not imported: (a file is not exec|.* holds the run itself)"
    ):
      imports.import_recorded({"imports": [name]}, project / "downloads" / "run")
  assert not [name for name in sys.modules if "evil" in name or name.startswith("downloads")]


def test_the_digest_follows_the_source_of_a_module_and_of_its_neighbors(project):
  def digest():
    return imports.code_digest(["digest_a", "not_there_a"])

  write(project / "digest_a.py", "raise RuntimeError('imported')")
  write(project / "digest_b.py", "x = 1")
  before = digest()
  assert digest() == before
  write(project / "digest_b.py", "x = 2")
  assert digest() != before
  assert imports.code_digest([]) == imports.code_digest([])
