"""Tests of the native library: skipped, with the reason, where it cannot be built."""

import pytest

from cnnlab import native


@pytest.fixture(autouse=True)
def library():
  """Turns the library on, whatever the environment says."""
  try:
    native.select("require")
  except Exception as error:
    pytest.skip(str(error))
  yield
  native.select("auto")
