"""The bar of a sweep: legible at any width, with the time that starts and evaluations take."""

import io
import re
import time

import pytest
from rich.console import Console

from cnnlab.launch.display import SweepDisplay


@pytest.fixture
def now(monkeypatch):
  clock = [1000.0]
  monkeypatch.setattr(time, "monotonic", lambda: clock[0])
  return clock


def display(width=80, terminal=True, runs=12):
  text = io.StringIO()
  console = Console(file=text, width=width, force_terminal=terminal, color_system="standard")
  return SweepDisplay(console, runs, 0, "2 workers"), text


def test_the_time_left_counts_the_start_of_each_run(now):
  shown, _ = display(runs=5)
  shown.started("a/seed0")
  shown.started("b/seed0")
  assert shown.left() is None
  now[0] += 10  # to compile
  shown.progress("a/seed0", 1, 11)
  now[0] += 20
  shown.progress(
    "a/seed0", 5, 11
  )  # 10 s to its first step, then 5 s each: 60 s, of which 30 are over
  # The other under way, and the three that wait, take as long.
  assert shown.left() == pytest.approx((30 + 30 + 3 * 60) / 2)
  now[0] += 10
  shown.finished("a/seed0", "done", "", 40.0)
  shown.started("a/seed1")
  assert shown.left() == pytest.approx((0 + 40 + 2 * 40) / 2)


@pytest.mark.parametrize("width", [60, 80])
def test_the_bar_fits(now, width):
  shown, text = display(width, runs=120)
  for name in ("a", "b"):
    shown.started(f"{name}/seed0")
  now[0] += 100
  shown.progress("a/seed0", 1, 39_000)
  now[0] += 9999
  shown.progress("a/seed0", 1234, 39_000)
  shown._console.print(shown._render())
  (line,) = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()).splitlines()
  assert len(line.rstrip()) <= width
  assert line.startswith("0/120 runs  ")
  assert line.rstrip().endswith(" left")
  assert line.count("━") >= 8
  assert "1 starting" in line
  assert "…" not in line


def test_tuning_runs_are_called_so(now):
  shown, text = display()
  shown.started("a/tuning/lr=0.1/seed0")
  shown._console.print(shown._render())
  assert text.getvalue().startswith("0/12 tuning runs ")


def test_a_log_is_told_at_intervals_how_far_it_is(now):
  shown, text = display(200, terminal=False)
  shown.started("a/seed0")
  for _ in range(100):
    now[0] += 10
    shown.refresh()
  assert text.getvalue().splitlines() == ["0/12 runs  1 starting"] * 3
