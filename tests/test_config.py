"""Config pages: overrides, types, and keys that nothing reads."""

import pytest

from cnnlab.config import (
  TrackedConfig,
  apply_overrides,
  flatten,
  load_page,
  parse_overrides,
  refuse_unread,
)
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError


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
    ("configs/digits.py:huge", ["'huge'", "'tiny'"]),
  ],
)
def test_wrong_pages_name_the_nearest(page, words):
  with pytest.raises(ConfigError) as caught:
    load_page(page)
  assert all(word in str(caught.value) for word in words), caught.value


def test_a_page_that_sets_an_unknown_key_is_refused(tmp_path):
  page = tmp_path / "page.py"
  page.write_text(
    "from cnnlab.defaults import default_config\n"
    "def get_config(arg=''):\n"
    "  config = default_config()\n"
    "  config.optim.momentun = 0.8\n"
    "  return config\n"
  )
  with pytest.raises(ConfigError, match="momentun"):
    load_page(str(page))


def test_keys_that_were_set_and_never_read_are_refused_and_defaults_are_not():
  config = apply_overrides(default_config(), {"optim.b1": 0.8})
  tracked = TrackedConfig(config)
  assert tracked.optim.name == "sgd"
  with pytest.raises(ConfigError) as caught:
    refuse_unread(tracked, config, asked=["seed"])
  message = str(caught.value)
  assert "'optim.b1' is set to 0.8" in message
  assert "optim.name='sgd'" in message
  assert "'seed' is set to 0" in message, "asked for, though at its default"
  assert "optim.b2" not in message, "a default that nobody asked for"


def test_a_key_that_was_read_is_not_refused():
  config = apply_overrides(default_config(), {"optim.b1": 0.8})
  tracked = TrackedConfig(config)
  assert tracked.optim.b1 == 0.8
  refuse_unread(tracked, config, asked=["optim.b1"])


def test_reading_an_unknown_key_names_the_nearest():
  with pytest.raises(ConfigError, match="did you mean 'optim.momentum'"):
    _ = TrackedConfig(default_config()).optim.momentun
