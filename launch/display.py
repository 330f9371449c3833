"""One progress bar for a whole sweep, and a line for each run that has ended."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from rich.console import Console, RenderableType
from rich.markup import escape

from cnnlab.lab import tuning
from cnnlab.lab.report import wording
from cnnlab.terminal import ProgressLine, TerminalLive, clock, steps_per_second

_COLORS = {"done": "green", "interrupted": "yellow"}
_WINDOW = 20.0  # seconds over which the rate of steps is averaged
_QUIET = 300.0  # seconds without a line, after which one tells how far the sweep is


class SweepDisplay:
  """The bar of a sweep; without a terminal, only lines.

  Args:
    console: where to draw.
    runs: in the whole sweep.
    finished: of these, already before this session.
    title: a description of the workers.
  """

  def __init__(self, console: Console, runs: int, finished: int, title: str):
    self._console, self._title = console, title
    self._runs, self._finished = runs, finished
    self._what = "runs"
    self._under_way: dict[str, _Run] = {}
    self._seconds: list[float] = []  # of the runs that have ended well
    self._past_steps = 0
    self._history: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
    self._last_line = time.monotonic()
    self._live = TerminalLive(console, self._render)

  def __enter__(self) -> SweepDisplay:
    self._live.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._live.stop()

  def started(self, name: str) -> None:
    """Records that a worker has taken a run."""
    self._under_way[name] = _Run()
    self._what = "tuning runs" if f"/{tuning.FOLDER}/" in name else "runs"

  def progress(self, name: str, step: int, total: int) -> None:
    """Records the progress of a run."""
    self._under_way.setdefault(name, _Run()).progress(step, total)

  def finished(self, name: str, status: str, text: str, seconds: float) -> None:
    """Records that a run ended, and prints a line about it."""
    self._past_steps += self._under_way.pop(name, _Run()).gained
    if status != "interrupted":
      self._finished += 1
    if status == "done" and seconds:
      self._seconds.append(seconds)
    color = _COLORS.get(status, "red")
    shown = escape(text.splitlines()[0]) if text else ""
    self._line(f"[{color}]{status:<11}[/] {escape(name)}  {shown}  {wording.duration(seconds)}")

  def note(self, text: str) -> None:
    """Prints a note on a line of its own."""
    self._line(f"[yellow]{escape(text)}[/]")

  def refresh(self) -> None:
    """Prints how far the sweep is, where no bar does, and nothing was printed for long."""
    if not self._console.is_terminal and time.monotonic() - self._last_line > _QUIET:
      self._line(f"{self._text()}  {'  '.join(filter(None, self._details()))}")

  def _line(self, text: str) -> None:
    self._console.print(text, highlight=False, soft_wrap=True)
    self._last_line = time.monotonic()

  def _render(self) -> RenderableType:
    parts = sum(run.share for run in list(self._under_way.values()))
    share = (self._finished + parts) / max(self._runs, 1)
    return ProgressLine(self._text(), share, [self._title, *self._details()])

  def _text(self) -> str:
    return f"{self._finished}/{self._runs} {self._what}"

  def _details(self) -> list[str]:
    starting = sum(not run.gained for run in list(self._under_way.values()))
    left = self.left()
    return [
      steps_per_second(self._rate()),
      f"{starting} starting" if starting else "",
      "" if left is None else f"{clock(left)} left",
    ]

  def left(self) -> float | None:
    """Returns the seconds until all runs of this stage have ended; None before anything is known.

    A run that has not begun takes as long as those that have, their start and evaluations included.
    """
    under_way = list(self._under_way.values())
    known = [*self._seconds, *(run.whole for run in under_way if run.gained)]
    if not known or not under_way:
      return None
    usual = sum(known) / len(known)
    rests = [max(0.0, (run.whole if run.gained else usual) - run.age) for run in under_way]
    waiting = max(0, self._runs - self._finished - len(under_way))
    return max(*rests, (sum(rests) + waiting * usual) / len(under_way))

  def _rate(self) -> float:
    now = time.monotonic()
    steps = self._past_steps + sum(run.gained for run in list(self._under_way.values()))
    self._history.append((now, steps))
    while len(self._history) > 2 and now - self._history[0][0] > _WINDOW:
      self._history.popleft()
    then, before = self._history[0]
    return (steps - before) / (now - then) if now > then else 0.0


class _Run:
  """A run under way: when it was taken, and its steps in this session."""

  def __init__(self) -> None:
    self._taken = time.monotonic()
    self._began: tuple[float, int] | None = None  # when it told of a step first, and which
    self._step = self._total = 0
    self._seen = self._taken

  def progress(self, step: int, total: int) -> None:
    self._seen = time.monotonic()
    self._began = self._began or (self._seen, step)
    self._step, self._total = step, total

  @property
  def share(self) -> float:
    return self._step / self._total if self._total else 0.0

  @property
  def gained(self) -> int:
    """Steps since the first that it told of."""
    return self._step - self._began[1] if self._began else 0

  @property
  def age(self) -> float:
    return time.monotonic() - self._taken

  @property
  def whole(self) -> float:
    """Seconds that it will have taken, at the rate so far."""
    assert self._began is not None
    began, first = self._began
    return began - self._taken + (self._seen - began) / self.gained * (self._total - first)
