"""`cnnlab runs --watch` on a terminal: the table follows the directories until Ctrl-C."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

from cnnlab.runs.directory import RunDirectory


def read_until(terminal, pattern, text=""):
  """Returns what the terminal shows up to the pattern."""
  deadline = time.monotonic() + 120
  while not re.search(pattern, text):
    assert time.monotonic() < deadline, text
    if select.select([terminal], [], [], 0.2)[0]:
      text += os.read(terminal, 65536).decode()
  return text


def drain(terminal, process):
  """Reads until the process has ended: a full terminal would block it."""
  deadline = time.monotonic() + 120
  while process.poll() is None:
    assert time.monotonic() < deadline, "it did not end"
    with contextlib.suppress(OSError):  # the terminal's other end is closed
      if select.select([terminal], [], [], 0.2)[0]:
        os.read(terminal, 65536)


def hear_interrupts():
  """Undoes what a shell does to the jobs that it runs in the background."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_table_follows_the_runs(tmp_path, project):
  first = RunDirectory(tmp_path / "sweep" / "max" / "seed0", {"seed": 0})
  first.set_status("done", step=9, total_steps=9)
  first.close()
  second = RunDirectory(tmp_path / "sweep" / "max" / "seed1", {"seed": 1})
  second.set_status("running", step=2, total_steps=9)
  ours, theirs = pty.openpty()
  command = [sys.executable, "-m", "cnnlab", "runs", str(tmp_path), "--watch", "--every", "0.1"]
  environment = os.environ | {"COLUMNS": "150", "LINES": "40", "TERM": "xterm"}
  process = subprocess.Popen(
    command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=project, env=environment,
    preexec_fn=hear_interrupts,
  )  # fmt: skip
  os.close(theirs)
  try:
    shown = read_until(ours, "1 running, 1 done")
    assert shown.index("seed1") < shown.index("seed0")  # what is under way comes first
    assert "2/9" in shown
    second.set_status("running", step=5)
    read_until(ours, "5/9")
    second.set_status("done", step=9)
    second.close()
    read_until(ours, r"2 done\b")
    process.send_signal(signal.SIGINT)
    drain(ours, process)
    assert process.returncode == 0
  finally:
    process.kill()
    process.wait()
    os.close(ours)
