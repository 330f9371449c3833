"""Config pages: overrides, types, settings made of them, and keys that nothing reads."""

import dataclasses
from typing import Literal

import pytest
from ml_collections import ConfigDict

from cnnlab.config import (
  apply_overrides,
  flatten,
  load_page,
  parse_overrides,
  to_plain,
  upgrade_saved,
)
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.settings import bind, choose, refuse_unused, used_keys


def overridden(*arguments):
  page = load_page("configs/digits.py")
  return apply_overrides(page, parse_overrides(arguments, page))


def test_values_take_the_type_of_what_they_replace():
  config = overridden(
    "--config.optim.learning_rate=1",
    "--config.data.flip=true",
    "--config.schedule.boundaries=[0.3,0.6]",
    "--config.data.dir=123",
    "--config.model.features=(8,8)",
    "--config.model.norm=group",
  )
  assert isinstance(config.optim.learning_rate, float)
  assert config.data.flip is True
  assert config.schedule.boundaries == (0.3, 0.6)
  assert config.data.dir == "123"
  assert config.model.features == (8, 8)
  assert config.model.norm == "group"


def test_none_in_lower_case_is_the_name_of_a_norm():
  given = ["--config.model.norm=none", "--config.model.output_stride=None"]
  overrides = parse_overrides(given, load_page("configs/cifar.py"))
  assert overrides == {"model.norm": "none", "model.output_stride": None}


def test_overriding_leaves_the_page_as_it_was():
  page = load_page("configs/digits.py")
  before = flatten(page)
  apply_overrides(page, {"seed": 7, "model.norm": "group"})
  assert flatten(page) == before


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    (
      "--config.optim.learningrate=1",
      ["'optim.learningrate'", "did you mean 'optim.learning_rate'"],
    ),
    ("--config.sed=1", ["'sed'", "did you mean 'seed'"]),
    ("--config.seed=x", ["'seed'", "int", "'x'"]),
    ("--config.seed=1.5", ["'seed'", "int", "1.5"]),
    ("--config.epochs=many", ["'epochs'", "float", "'many'"]),
    ("--config.data.flip=1", ["'data.flip'", "bool", "1"]),
    ("--config.seed", ["--config.KEY=VALUE", "'--config.seed'"]),
  ],
)
def test_wrong_overrides_name_the_key_and_what_is_allowed(argument, words):
  with pytest.raises(ConfigError) as caught:
    overridden(argument)
  assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
  ("page", "words"),
  [
    ("configs/digit.py", ["'configs/digit.py'", "did you mean 'configs/digits.py'"]),
    ("digit", ["'digit'", "did you mean 'digits'"]),
    ("configs/digits.py:huge", ["'huge'", "'tiny'"]),
  ],
)
def test_wrong_pages_name_the_nearest(page, words):
  with pytest.raises(ConfigError) as caught:
    load_page(page)
  assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("page", ["digits:tiny", "configs/digits.py:tiny"])
def test_pages_of_cnnlab_are_found_from_any_folder(page, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert load_page(page).max_steps == 2


def test_a_page_that_sets_an_unknown_key_is_refused(tmp_path):
  page = tmp_path / "page.py"
  page.write_text(
    "from cnnlab.defaults import default_config\n"
    "def get_config(arg=''):\n"
    "  config = default_config()\n"
    "  config.optim.momentun = 0.8\n"
    "  return config\n"
  )
  with pytest.raises(ConfigError, match="'momentun'; did you mean 'momentum'"):
    load_page(str(page))


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("def get_config(arg=''):\n  raise RuntimeError('no')", ":2: RuntimeError: no"),
    ("import no_such_module", ":1: ModuleNotFoundError: No module named 'no_such_module'"),
    ("import sys\nsys.exit(1)", ":2: SystemExit: 1"),
    ("x = 1\ndef get_config(arg=''):\n  return (", ":3: SyntaxError: "),
    ("x = '\udcff'", "SyntaxError: "),
    ("get_config = 3", "defines no function get_config"),
    ("def get_config(arg=''):\n  pass", "returned None, not a ConfigDict"),
    ("def get_config(arg=''):\n  return {'a': 1}", "returned {'a': 1}, not a ConfigDict"),
    ("from ml_collections import ConfigDict\ndef get_config(arg=''):\n  return ConfigDict()", "is missing; a page starts from"),
    (
      "from cnnlab.defaults import default_config\ndef get_config(arg=''):\n"
      "  config = default_config()\n  config.optim = None\n  return config",
      "'optim' is None",
    ),
  ],
)  # fmt: skip
def test_a_page_that_fails_names_its_line(tmp_path, text, words):
  page = tmp_path / "page.py"
  page.write_bytes(text.encode(errors="surrogateescape"))
  with pytest.raises(ConfigError) as caught:
    load_page(str(page))
  assert words in str(caught.value), caught.value
  assert len(str(caught.value).splitlines()) == 1


def test_a_folder_and_a_name_that_no_file_can_have_are_no_pages(tmp_path):
  with pytest.raises(ConfigError, match="this is a folder"):
    load_page(str(tmp_path))
  for name in ("x" * 20_000, "a\0b", ""):
    with pytest.raises(ConfigError, match="unknown config page"):
      load_page(name)


def test_what_json_cannot_hold_is_refused():
  with pytest.raises(ConfigError, match=r"the config holds \{1\}; allowed: numbers, text"):
    to_plain(ConfigDict({"a": {1}}))


def test_keys_that_were_set_and_never_read_are_refused_and_defaults_are_not():
  config = apply_overrides(default_config(), {"optim.b1": 0.8})
  used = {"optim.name", "optim.momentum"}
  with pytest.raises(ConfigError) as caught:
    refuse_unused(config, ["seed"], used)
  message = str(caught.value)
  assert "'optim.b1' is set to 0.8" in message
  assert "optim.name='sgd' (read there: optim.momentum)" in message
  assert "'seed' is set to 0" in message, "asked for, though at its default"
  assert "optim.b2" not in message, "a default that nobody asked for"


def test_a_key_that_was_read_is_not_refused():
  config = apply_overrides(default_config(), {"optim.b1": 0.8})
  refuse_unused(config, ["optim.b1"], ["optim.b1"])


@dataclasses.dataclass(frozen=True)
class Example:
  """Settings of every type."""

  rate: float = 0.1
  count: int = 1
  mode: Literal["fast", "slow"] = "fast"
  sizes: tuple[int, ...] = ()
  side: int | tuple[int, int] = 0
  groups: tuple[dict, ...] = ()


def test_binding_takes_the_keys_of_the_dataclass_in_its_types():
  section = {"rate": 1, "sizes": [3, 4], "side": [5, 6], "groups": [{"a": 1}], "other": "x"}
  assert bind(Example, section, "part") == Example(1.0, 1, "fast", (3, 4), (5, 6), ({"a": 1},))
  assert used_keys(Example(), "part") >= {"part.rate", "part.groups"}
  chosen = choose({"a": Example}, {"name": "a", "count": 3}, "part")
  assert chosen == Example(count=3)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"rate": "x"}, "config key 'part.rate' is 'x'; allowed: float"),
    ({"count": 1.5}, "'part.count' is 1.5; allowed: int"),
    ({"count": True}, "'part.count' is True; allowed: int"),
    ({"mode": "fats"}, r"unknown value 'fats' of config key 'part.mode'; did you mean 'fast'"),
    ({"sizes": (1, "2")}, "'part.sizes'.*tuple of int"),
    ({"side": (1, 2, 3)}, "'part.side' is .1, 2, 3.; allowed: int or tuple of 2 int"),
  ],
)
def test_values_that_do_not_fit_are_named(section, message):
  with pytest.raises(ConfigError, match=message):
    bind(Example, section, "part")


def test_an_unknown_variant_names_the_nearest():
  with pytest.raises(ConfigError, match=r"value 'exmple' of config key 'part.name'.*'example'"):
    choose({"example": Example}, {"name": "exmple"}, "part")


def test_a_saved_config_of_earlier_code_gets_the_keys_of_today():
  saved = to_plain(default_config())
  saved["data"]["centring"] = saved["data"].pop("centering")
  del saved["data"]["mix"], saved["accumulate"], saved["optim"]["groups"]
  assert upgrade_saved(saved) == to_plain(default_config())
