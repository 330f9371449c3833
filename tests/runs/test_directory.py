"""A run's directory belongs to one config, whatever code wrote it."""

import json

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


def test_nan_in_a_config_is_the_same_as_nan():
  old = to_plain(default_config())
  old["optim"]["learning_rate"], old["model"]["scales"] = float("nan"), [float("nan"), 1.0]
  assert config_differences(json.loads(json.dumps(old)), old) == {}
  assert "optim.learning_rate" in config_differences(old, to_plain(default_config()))
