"""The last net of the command line: errors of the system are one line, bugs keep their traceback."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from cnnlab.cli import models
from cnnlab.cli.main import main
from cnnlab.errors import CnnlabError


@pytest.mark.parametrize(
  ("error", "code", "message"),
  [
    (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "error: a/b: Permission denied"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 999), 2, "error: " + "x" * 200 + ": "),
    (OSError(errno.ENOSPC, "No space left on device"), 2, "error: No space left on device"),
    (MemoryError("cannot allocate 9 TiB"), 2, "error: not enough memory: cannot allocate 9 TiB"),
    (ValueError("embedded null byte"), 2, "the character NUL"),
    (
      UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no surrogates"),
      2,
      r"'\udcff' cannot be written",
    ),
    (CnnlabError("no \x1b[31m"), 2, r"error: no \x1b[31m"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
  ],
  ids=lambda value: type(value).__name__,
)
def test_errors_of_the_system_are_one_line(monkeypatch, capsys, error, code, message):
  def run(arguments):
    raise error

  monkeypatch.setattr(models, "run", run)
  assert main(["models"]) == code
  shown = capsys.readouterr().err
  assert message in shown
  assert len(shown.splitlines()) <= 1
  assert ("error:" in shown) == (code == 2)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "Bad descriptor")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
  def run(arguments):
    raise error

  monkeypatch.setattr(models, "run", run)
  with pytest.raises(type(error)):
    main(["models"])


def test_an_interruption_is_no_error(monkeypatch, capsys):
  class Stopped(CnnlabError):
    exit_code = 130

  def run(arguments):
    raise Stopped("stopped at step 3")

  monkeypatch.setattr(models, "run", run)
  assert main(["models"]) == 130
  assert capsys.readouterr().err == "stopped at step 3\n"


def test_sigterm_unwinds_as_ctrl_c_does(monkeypatch, capsys):
  closed = []

  def run(arguments):
    try:
      os.kill(os.getpid(), signal.SIGTERM)
    finally:
      closed.append(True)

  monkeypatch.setattr(models, "run", run)
  before = signal.getsignal(signal.SIGTERM)
  assert main(["models"]) == 143
  assert (closed, capsys.readouterr().err) == ([True], "terminated\n")
  assert signal.getsignal(signal.SIGTERM) == before


def test_messages_of_the_parser_cannot_act_on_the_terminal(capsys):
  with pytest.raises(SystemExit) as caught:
    main(["models", "a", "\x1b[31m"])
  assert caught.value.code == 2
  assert r"\x1b[31m" in capsys.readouterr().err


def test_a_reader_that_leaves_and_a_full_disk_are_no_tracebacks(project):
  line = [sys.executable, "-m", "cnnlab", "models"]
  reading, writing = os.pipe()
  os.close(reading)
  gone = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, cwd=project, check=False)
  os.close(writing)
  assert (gone.returncode, gone.stderr) == (141, b"")
  with open("/dev/full", "w") as full:
    done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, cwd=project, check=False)
  assert done.returncode == 2
  assert done.stderr.startswith(b"error: ")
  assert done.stderr.endswith(b"No space left on device\n")
  assert done.stderr.count(b"\n") == 1
