"""Ctrl-C at a moment at which Python would drop it, or break an import."""

import subprocess
import sys

import pytest

SETUP = """
import gc, os, signal, sys, time
from cnnlab.signals import SIGNALS, raise_interrupt
for signum in SIGNALS:
  signal.signal(signum, raise_interrupt)
"""
IN_A_CALLBACK = """
class Dies:
  def __del__(self):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)
try:
  one = Dies()
  del one
  time.sleep(5)
except KeyboardInterrupt as error:
  print("caught", type(error).__name__)
"""
IN_AN_IMPORT = """
sys.path.insert(0, sys.argv[1])
try:
  import slow
  time.sleep(5)
except KeyboardInterrupt as error:
  print("caught", type(error).__name__, sys.modules["slow"].finished)
"""


@pytest.mark.parametrize(
  ("moment", "shown", "told"),
  [
    (IN_A_CALLBACK, "caught KeyboardInterrupt\n", ""),
    (IN_AN_IMPORT, "caught Terminated True\n", "SIGTERM: stopping\n"),
  ],
)
def test_it_comes_again(tmp_path, moment, shown, told):
  slow = "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.2)\n"
  (tmp_path / "slow.py").write_text(slow + "finished = True\n")
  command = [sys.executable, "-c", SETUP + moment, str(tmp_path)]
  done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
  assert done.stdout == shown
  assert done.stderr == told
