"""Building, choosing and refusing the native library."""

import json
import os
import subprocess
import sys

import pytest

from cnnlab import native
from cnnlab.errors import ConfigError

REPORT = """
import json
from cnnlab import native
from cnnlab.errors import ConfigError
try:
  print(json.dumps([native.enabled(), native.describe()]))
except ConfigError as error:
  print(json.dumps(["error", str(error)]))
"""


def report(**environment):
  done = subprocess.run(
    [sys.executable, "-c", REPORT],
    env=os.environ | environment,
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  return json.loads(done.stdout.splitlines()[-1])


def test_describes_what_computes():
  assert native.describe().startswith("oneDNN ")
  with native.disabled():
    assert not native.enabled()
    assert native.describe() == "XLA (the native library is off)"


def test_without_a_compiler_xla_computes(tmp_path):
  used, description = report(CXX="/nowhere/c++", CNNLAB_CACHE=str(tmp_path), CNNLAB_NATIVE="auto")
  assert (used, description) == (False, "XLA (there is no C++ compiler: $CXX is /nowhere/c++)")
  used, message = report(CXX="/nowhere/c++", CNNLAB_CACHE=str(tmp_path), CNNLAB_NATIVE="require")
  assert used == "error"
  assert message == (
    "the native library is required, but there is no C++ compiler: $CXX is /nowhere/c++"
  )


def test_a_failing_compiler_is_named(tmp_path):
  used, description = report(CXX="false", CNNLAB_CACHE=str(tmp_path), CNNLAB_NATIVE="auto")
  assert (used, description) == (False, "XLA (false failed: no output)")
  assert not list(tmp_path.rglob("*.so"))


def test_unknown_choices_are_refused():
  with pytest.raises(
    ConfigError, match="unknown value 'of' of config key 'native'; did you mean 'off'"
  ):
    native.select("of")
  assert report(CNNLAB_NATIVE="on")[1].startswith("unknown value 'on' of $CNNLAB_NATIVE")


def test_the_config_key_outranks_the_environment(monkeypatch):
  monkeypatch.setenv("CNNLAB_NATIVE", "require")
  native.select("off")
  assert not native.enabled()
  monkeypatch.setenv("CNNLAB_NATIVE", "off")
  native.select("auto")
  assert not native.enabled()
  native.select("require")
  assert native.enabled()
