"""One progress bar for a whole sweep, and a line for each run that has ended."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cnnlab.lab.report import wording

_COLORS = {"done": "green", "interrupted": "yellow"}
_WINDOW = 20.0  # seconds over which the rate of steps is averaged


class SweepDisplay:
  """The bar of a sweep; without a terminal, only the lines.

  Args:
    console: where to draw.
    runs: in the whole sweep.
    finished: of these, already before this session.
    title: the bar's text, a description of the workers.
  """

  def __init__(self, console: Console, runs: int, finished: int, title: str):
    self._console = console
    self._runs, self._finished, self._before = runs, finished, finished
    self._parts: dict[str, tuple[int, int]] = {}  # of the runs under way: step, total steps
    self._origin: dict[str, int] = {}  # the step at which each began in this session
    self._past_steps = 0
    self._began = time.monotonic()
    self._history: deque[tuple[float, int]] = deque([(self._began, 0)])
    self._progress = Progress(
      SpinnerColumn(),
      TextColumn("{task.description}"),
      BarColumn(bar_width=None),
      TextColumn("{task.fields[shown]}"),
      console=console,
      disable=not console.is_terminal,
      transient=True,
    )
    self._task = self._progress.add_task(title, total=runs, completed=finished, shown="")

  def __enter__(self) -> SweepDisplay:
    self._progress.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._progress.stop()

  def progress(self, name: str, step: int, total: int) -> None:
    """Records the progress of a run."""
    self._origin.setdefault(name, step)
    self._parts[name] = (step, total)

  def finished(self, name: str, status: str, text: str, seconds: float) -> None:
    """Records that a run ended, and prints a line about it."""
    step, _ = self._parts.pop(name, (0, 0))
    self._past_steps += step - self._origin.pop(name, step)
    if status != "interrupted":
      self._finished += 1
    color = _COLORS.get(status, "red")
    shown = escape(text.splitlines()[0]) if text else ""
    self._progress.console.print(
      f"[{color}]{status:<11}[/] {escape(name)}  {shown}  [dim]{wording.duration(seconds)}[/]",
      highlight=False,
      soft_wrap=True,
    )
    self.refresh()

  def note(self, text: str) -> None:
    """Prints a note on a line of its own."""
    self._progress.console.print(f"[yellow]{escape(text)}[/]", highlight=False, soft_wrap=True)

  def refresh(self) -> None:
    """Redraws the bar: runs, steps per second, time left."""
    parts = sum(step / total for step, total in self._parts.values() if total)
    completed = self._finished + parts
    gained = (
      completed
      - self._before
      - sum(self._origin[name] / total for name, (_, total) in self._parts.items() if total)
    )
    left = self._runs - completed
    elapsed = time.monotonic() - self._began
    eta = wording.duration(elapsed * left / gained) if gained > 0 else "–"
    shown = f"{self._finished}/{self._runs} runs  {self._rate():.0f} steps/s  {eta} left"
    self._progress.update(self._task, completed=completed, shown=shown)

  def _rate(self) -> float:
    now = time.monotonic()
    under_way = sum(step - self._origin[name] for name, (step, _) in self._parts.items())
    steps = self._past_steps + under_way
    self._history.append((now, steps))
    while len(self._history) > 2 and now - self._history[0][0] > _WINDOW:
      self._history.popleft()
    then, before = self._history[0]
    return (steps - before) / (now - then) if now > then else 0.0
