"""What a config asks for is held against the memory that there is."""

import pytest

from cnnlab.capacity import device_memory, in_words, machine_memory, require
from cnnlab.errors import ConfigError


def test_what_does_not_fit_is_refused_with_both_sizes():
  require({"images": 5 * 10**9}, ["batch_size"], 10**10)
  require({"images": 5 * 10**9}, ["batch_size"], None)
  with pytest.raises(ConfigError) as caught:
    require({"images": 5 * 10**12, "maps": 0}, ["batch_size", "model"], 10**10)
  assert "config keys 'batch_size' and 'model'" in str(caught.value)
  assert "at least 5 TB" in str(caught.value)
  assert "images 5 TB)" in str(caught.value), "what takes nothing is not listed"
  assert "fits into 10 GB" in str(caught.value)


def test_the_memory_is_known_here():
  assert machine_memory() > 2**30
  assert device_memory() > 2**30


def test_bytes_in_words():
  assert [in_words(n) for n in (5, 1500, 10**40)] == ["5 bytes", "1.5 kB", "1e+22 EB"]
