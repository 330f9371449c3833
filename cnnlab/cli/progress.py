"""The progress of a command on the terminal: what it does, how far it is, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.spinner import Spinner

from cnnlab.metrics import Metric
from cnnlab.runs.pace import Pace, Work
from cnnlab.terminal import (
  Fitted,
  ProgressLine,
  SafeConsole,
  TerminalLive,
  clock,
  steps_per_second,
)
from cnnlab.types import JsonMapping

_RECURRING = (Work.TRAIN, Work.EVALUATE, Work.EVALUATE_TRAINSET, Work.SAVE)
_SHORTEST = 0.5  # seconds of other work that are worth a line
_QUIET = 10.0  # seconds without a line, after which a row without evaluation becomes one
_LONG_QUIET = 60.0  # and after which a step does


class TrainProgress:
  """A bar on a terminal, and lines elsewhere, on standard error; a context manager.

  `pace`, `step` and `report` are arguments for `cnnlab.train.train`.

  Args:
    title: the first detail of the bar.
    watched: the metric of the task to show, for training and evaluation; may be set later.
  """

  def __init__(self, title: str, watched: Metric | None = None):
    self.pace = Pace(self._changed)
    self.watched = watched
    self._title = title
    self._row: JsonMapping = {}  # the newest value of each metric
    self._console = SafeConsole(stderr=True)
    self._spinner = Spinner("dots")
    self._live = TerminalLive(self._console, self._render)
    self._last_line = time.monotonic()
    self._unfinished = False  # whether the last line still lacks its end

  def step(self, step: int, total: int) -> None:
    """Shows the number of finished steps, where no bar does and nothing was shown for long."""
    if not self._console.is_terminal and time.monotonic() - self._last_line > _LONG_QUIET:
      self._line([f"step {step:>7}/{total}", *self._details()])

  def report(self, row: JsonMapping) -> None:
    """Shows a row of metrics: below the bar, and as a line if it includes an evaluation."""
    self._row = {**self._row, **row}
    line = [f"step {row['step']:>7}  epoch {row['epoch']:>6g}", *describe_row(row, self.watched)]
    if "eval/count" in row:
      self._line(line)
    elif not self._console.is_terminal and time.monotonic() - self._last_line > _QUIET:
      self._line([*line, *self._details()])

  def _details(self) -> list[str]:
    left = self.pace.left()
    details = [steps_per_second(self.pace.rate())]
    return details if left is None else [*details, f"{clock(left)} left"]

  def _line(self, parts: list[str]) -> None:
    self._end_line()
    print_parts(self._console, parts)
    self._last_line = time.monotonic()

  def _changed(self, ended: Work, seconds: float, begun: Work) -> None:
    """Prints what took long to begin; without a terminal, the compilation before it has ended."""
    if ended not in _RECURRING and (seconds >= _SHORTEST or ended == Work.COMPILE):
      if self._unfinished:
        self._end_line(f" {seconds:.1f} s")
      else:
        self._line([f"{ended} ... {seconds:.1f} s"])
    if begun == Work.COMPILE and not self._console.is_terminal:
      self._console.print(f"{begun} ...", end="", highlight=False)
      self._console.file.flush()
      self._unfinished = True

  def _end_line(self, text: str = "") -> None:
    if self._unfinished:
      self._unfinished = False
      self._console.print(text, highlight=False)

  def _render(self) -> RenderableType:
    pace = self.pace
    if not pace.step or pace.doing == Work.FINISH:
      elapsed = time.monotonic() - pace.since
      self._spinner.update(text=f"{pace.doing} ... {elapsed:.1f} s")
      return self._spinner
    doing = "" if pace.doing == Work.TRAIN else str(pace.doing)
    if pace.parts > 1:
      doing += f" {pace.part}/{pace.parts}"
    text, details = f"{pace.step}/{pace.total}", self._details()
    if doing:
      details = [doing, *details[1:]]
    bar = ProgressLine(text, pace.step / pace.total, [self._title, *details])
    metrics = describe_row(self._row, self.watched)
    return Group(bar, Fitted(metrics, "cyan")) if metrics else bar

  def __enter__(self) -> TrainProgress:
    self._live.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._live.stop()
    self._end_line()


class Working:
  """Shows on a terminal, on standard error, that a command works, and how far it is.

  Args:
    text: what it does.
  """

  def __init__(self, text: str):
    self._text, self._began = text, time.monotonic()
    self._part = self._parts = 0
    self._first = 0.0  # when the first part was done: before, much else was
    self._spinner = Spinner("dots")
    self._live = TerminalLive(SafeConsole(stderr=True), self._render)

  def count(self, part: int, parts: int) -> None:
    """Shows how many parts of the work are done."""
    self._first = self._first or time.monotonic()
    self._part, self._parts = part, parts

  def _render(self) -> RenderableType:
    now = time.monotonic()
    if self._parts < 2:
      self._spinner.update(text=f"{self._text} ... {now - self._began:.1f} s")
      return self._spinner
    each = (now - self._first) / (self._part - 1) if self._part > 1 else 0.0
    left = f"{clock(each * (self._parts - self._part))} left" if each else ""
    text = f"{self._text} {self._part}/{self._parts}"
    return ProgressLine(text, self._part / self._parts, [left])

  def __enter__(self) -> Working:
    self._live.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._live.stop()


def print_parts(console: Console, parts: Sequence[str]) -> None:
  """Prints texts on one line; on a terminal without the last ones, if they do not fit."""
  if console.is_terminal:
    console.print(Fitted(parts))
  else:
    console.print("  ".join(parts), highlight=False, markup=False, soft_wrap=True)


def describe_row(row: JsonMapping, watched: Metric | None) -> list[str]:
  """Returns the metrics of a row in words, the most important first."""
  parts = []
  if watched:
    unit = f" {watched.unit}" if watched.unit else ""
    for split in ("eval", "train"):
      value = row.get(f"{split}/{watched.name}")
      if value is not None:
        parts.append(f"{split} {watched.label} {value * watched.factor:.2f}{unit}")
  if "train/loss" in row:
    parts.insert(1 if parts else 0, f"loss {row['train/loss']:.4f}")
  if "eval/count" in row:
    parts.append(f"{row['eval/count']:,} examples")
  if "images_per_second" in row and "train/loss" in row:
    parts.append(f"{row['images_per_second']:,.0f} images/s")
  return parts
