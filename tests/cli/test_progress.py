"""What a user reads while something runs: at 60 and 80 columns, and in a log."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest

from cnnlab.cli import progress
from cnnlab.runs.pace import Ahead, Pace, Work
from cnnlab.terminal import clock

WIDTHS = (60, 80)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown_in_terminal(width, *arguments):
  """Runs cnnlab in a terminal of so many columns; returns its exit code and all lines it has shown."""
  pid, terminal = pty.fork()
  if pid == 0:
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "cnnlab", *arguments]
    os.execve(sys.executable, command, environment | {"TERM": "xterm-256color"})
  fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
  text = b""
  while True:
    try:
      text += os.read(terminal, 65536)
    except OSError:
      break
  os.close(terminal)
  code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
  lines = re.split(r"[\r\n]+", ESCAPES.sub("", text.decode()))
  return code, [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_training_fits_the_terminal_and_tells_of_its_compilation(width, tmp_path):
  code, lines = shown_in_terminal(
    width,
    *("train", "--config=configs/digits.py", f"--workdir={tmp_path}", "--config.epochs=60"),
  )
  assert code == 0
  assert lines.pop().startswith("run directory: ")  # as long as the path
  assert not [line for line in lines if len(line) > width or "…" in line]
  (compiled,) = [
    line for line in lines if re.fullmatch(r"compiling the [a-z ]+ \.\.\. [\d.]+ s", line)
  ]
  first = next(i for i, line in enumerate(lines) if re.match(r"\d+/1320 ", line))
  assert lines.index(compiled) < first
  bars = [line for line in lines if re.match(r"\d+/1320 ", line)]
  assert all("━" * 2 in bar or "╺" in bar for bar in bars)
  with_time = [bar for bar in bars if re.search(r"\d+:\d\d left$", bar)]
  assert len(with_time) > len(bars) / 2
  assert not [bar for bar in bars if "?" in bar]
  assert any(line.startswith("done: step 1320") for line in lines)
  assert any(re.match(r"step +\d+ +epoch +[\d.]+ +eval error [\d.]+ %", line) for line in lines)


def test_ctrl_c_while_compiling_is_told_of_and_is_no_error(tmp_path):
  pid, terminal = pty.fork()
  if pid == 0:
    page = ["--config=configs/digits.py:tiny", f"--workdir={tmp_path / 'run'}"]
    fresh = ["--config.native=off"]  # the library would be built for the cache, which is empty
    os.environ["CNNLAB_CACHE"] = str(tmp_path / "cache")
    os.execv(sys.executable, [sys.executable, "-m", "cnnlab", "train", *page, *fresh])
  text, pressed = "", 0.0
  while True:
    try:
      text += os.read(terminal, 65536).decode()
    except OSError:
      break
    if not pressed and "compiling the training step" in text:
      os.write(terminal, b"\x03")
      pressed = time.monotonic()
    if pressed and "stopping" in text:
      told = time.monotonic() - pressed
      pressed = float("inf")
  os.close(terminal)
  assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
  assert told < 5
  assert "SIGINT: stopping; again to stop at once" in text
  assert "run the same command to resume" in text
  assert "Traceback" not in text
  assert "error:" not in text
  assert '"status": "interrupted"' in (tmp_path / "run" / "status.json").read_text()


def test_a_log_has_few_lines_and_no_escapes(capsys):
  with progress.TrainProgress("convnet") as bar:
    bar.pace.turn_to(Work.COMPILE)
    assert capsys.readouterr().err == "compiling the training step ..."
    bar.pace.turn_to(Work.TRAIN)
    assert re.fullmatch(r" \d\.\d s\n", capsys.readouterr().err)
    for step in range(1, 101):
      bar.report({"step": step, "epoch": step / 10, "train/loss": 0.5})
      bar.step(step, 100)
    bar.report({"step": 100, "epoch": 10.0, "train/loss": 0.5, "eval/count": 1234})
  shown = capsys.readouterr().err
  assert shown == "step     100  epoch     10  loss 0.5000  1,234 examples\n"


def test_a_quiet_log_tells_of_steps_and_the_time_left(capsys, monkeypatch):
  now = [1000.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  with progress.TrainProgress("convnet") as bar:
    bar.pace.begin(0, Ahead(100, 0, batch_size=8, eval_images=24))
    bar.pace.turn_to(Work.TRAIN)
    for step in range(1, 4):
      now[0] += 40.0
      bar.pace.trained(1)
      bar.step(step, 100)
  # 98 steps of 40 s, and an evaluation of as many images as 3 steps, each at a third of their cost.
  assert capsys.readouterr().err == "step       2/100  0.025 steps/s  1:06:00 left\n"


def test_the_time_left_counts_evaluations_as_they_were_measured(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  pace = Pace()
  pace.begin(10, Ahead(50, eval_every=10, batch_size=4, eval_images=40, last_images=80))
  pace.turn_to(Work.COMPILE)
  now[0] += 100.0
  pace.turn_to(Work.TRAIN)
  assert pace.left() is None
  for seconds in (30.0, 7.0):  # the first evaluation is compiled, too
    for _ in range(10):
      now[0] += 1.0
      pace.trained(1)
    with pace.during(Work.EVALUATE):
      now[0] += seconds
  now[0] += 1.0
  pace.trained(1)
  # 19 steps, the evaluations at 40 and 50, and the training set, which is twice as large.
  assert pace.left() == pytest.approx(19 + 2 * 7 + 2 * 7)
  assert pace.spent[Work.COMPILE] == 100
  assert pace.spent[Work.EVALUATE] == 37


@pytest.mark.parametrize(
  ("seconds", "shown"),
  [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (2e5, "2 d 7:33:20")],
)
def test_clock(seconds, shown):
  assert clock(seconds) == shown
