"""Memory that is freed stays with the process, and does not grow."""

import json
import os
import platform
import subprocess
import sys

import pytest

CODE = """
import json, resource
from cnnlab.memory import keep_freed_memory
keep_freed_memory()
import numpy as np
kept, faults, peaks = [], [], []
for step in range(8):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  large = np.ones(30_000_000, np.float32)
  kept.append(np.ones(5_000))  # a small block that outlives the large one
  del large
  usage = resource.getrusage(resource.RUSAGE_SELF)
  faults.append(usage.ru_minflt - before)
  peaks.append(usage.ru_maxrss)
print(json.dumps([faults, peaks]))
"""


def measure(**environment):
  clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
  done = subprocess.run(
    [sys.executable, "-c", CODE],
    env=clean | {"NUMPY_MADVISE_HUGEPAGE": "0"} | environment,
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  )
  return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_step_finds_the_memory_of_the_one_before():
  faults, peaks = measure()
  assert max(faults[2:]) < 200  # 120 MB are 29,000 pages
  assert peaks[-1] < 1.1 * peaks[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_users_own_settings_of_malloc_are_respected():
  faults, _ = measure(MALLOC_TOP_PAD_="1048576")
  assert min(faults[2:]) > 10_000
