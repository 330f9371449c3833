"""A run's directory belongs to one config, whatever code wrote it."""

from cnnlab.config import apply_overrides, to_plain
from cnnlab.defaults import default_config
from cnnlab.runs.directory import config_differences


def test_a_config_written_before_keys_were_renamed_or_added_is_the_same():
  new = to_plain(apply_overrides(default_config(), {"data.centering": "image"}))
  old = to_plain(apply_overrides(default_config(), {"data.centering": "image"}))
  old["data"]["centring"] = old["data"].pop("centering")
  del old["accumulate"], old["data"]["transforms"], old["optim"]["groups"]
  assert config_differences(old, new) == {}
  other = new | {"seed": 5}
  assert config_differences(old, other) == {"seed": (0, 5)}
