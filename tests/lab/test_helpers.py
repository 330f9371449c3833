"""Ctrl-C while other processes examine for this one: they are quiet, and end at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cnnlab.lab.helpers import in_helpers

# A shell's background command ignores SIGINT, and what it starts inherits that.
WAITING = """
import signal
import time
from cnnlab.lab.helpers import in_helpers

if __name__ == "__main__":
  signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    in_helpers(time.sleep, [(60,)], 1, int)
  except KeyboardInterrupt:
    print("interrupted")
"""


def test_results_come_in_the_order_of_the_tasks_and_errors_are_raised():
  assert in_helpers(divmod, [(7, 2), (9, 4)], 2, int) == [(3, 1), (2, 1)]
  with pytest.raises(ZeroDivisionError):
    in_helpers(divmod, [(7, 0), (9, 4)], 1, int)


def test_ctrl_c_ends_them_at_once_and_without_a_word(tmp_path):
  script = tmp_path / "waiting.py"
  script.write_text(WAITING)
  process = subprocess.Popen(
    [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    start_new_session=True,
  )  # fmt: skip
  time.sleep(4)  # until both run, or one is still starting: it must not matter
  began = time.monotonic()
  os.killpg(process.pid, signal.SIGINT)  # as a terminal does
  out, err = process.communicate(timeout=60)
  assert (out, err) == ("interrupted\n", "")
  assert time.monotonic() - began < 20
