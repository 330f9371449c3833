"""One rule for every `register_*` function: names, clashes, replacement."""

import pytest

from cnnlab.errors import ConfigError
from cnnlab.register import register


def test_a_name_is_added_once_and_the_same_again_is_no_error():
  table, thing = {}, object()
  register(table, "model", "my_net", thing)
  register(table, "model", "my_net", thing)
  assert table == {"my_net": thing}


def test_a_taken_name_is_refused_unless_the_user_replaces_what_was_added():
  table, first, second = {"resnet20": object()}, object(), object()
  register(table, "net", "mine", first)
  with pytest.raises(
    ConfigError, match="net 'mine' is registered already, as <object.*replace=True"
  ):
    register(table, "net", "mine", second)
  register(table, "net", "mine", second, replace=True)
  assert table["mine"] is second
  own = table["resnet20"]
  with pytest.raises(ConfigError, match="net 'resnet20' is cnnlab's own"):
    register(table, "net", "resnet20", second, replace=True)
  assert table["resnet20"] is own


@pytest.mark.parametrize("name", ["", "my net", "my:net", "*", "ne\nt", "-net", 3])
def test_what_a_config_could_not_name_is_refused(name):
  with pytest.raises(ConfigError, match="cannot name a model; allowed: letters, digits"):
    register({}, "model", name, object())
