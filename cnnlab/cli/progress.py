"""The progress bar of a training run: steps, rate, time left, latest metrics."""

from __future__ import annotations

from types import TracebackType

from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  ProgressColumn,
  Task,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
)
from rich.text import Text

from cnnlab.metrics import Metric
from cnnlab.terminal import SafeConsole
from cnnlab.types import JsonMapping


class _Rate(ProgressColumn):
  """Steps per second."""

  def render(self, task: Task) -> Text:
    return Text(f"{task.speed:.1f} steps/s" if task.speed else "compiling", style="cyan")


class TrainProgress:
  """A progress bar on a terminal, and plain lines elsewhere; a context manager.

  `step` and `report` are arguments for `cnnlab.train.train`.
  """

  def __init__(self, title: str, watched: Metric):
    """Initializes the bar.

    Args:
      title: text before the bar.
      watched: the metric of the task to show, for training and evaluation.
    """
    self._watched = watched
    self._console = SafeConsole(stderr=True)
    self._bar = Progress(
      TextColumn("{task.description}"),
      BarColumn(),
      MofNCompleteColumn(),
      _Rate(),
      TextColumn("elapsed"),
      TimeElapsedColumn(),
      TextColumn("left"),
      TimeRemainingColumn(),
      TextColumn("{task.fields[metrics]}"),
      console=self._console,
      disable=not self._console.is_terminal,
      speed_estimate_period=60,
    )
    self._task = self._bar.add_task(title, total=None, metrics="")

  def step(self, step: int, total: int) -> None:
    """Shows the number of finished steps."""
    self._bar.update(self._task, completed=step, total=total)

  def report(self, row: JsonMapping) -> None:
    """Shows a row of metrics next to the bar; also as a line, if it includes an evaluation."""
    text = describe_row(row, self._watched)
    self._bar.update(self._task, metrics=text)
    if "eval/count" in row or not self._console.is_terminal:
      self._console.print(
        f"step {row['step']:>7}  epoch {row['epoch']:>6g}  {text}", highlight=False, soft_wrap=True
      )

  def __enter__(self) -> TrainProgress:
    self._bar.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._bar.stop()


def describe_row(row: JsonMapping, watched: Metric) -> str:
  """Returns the loss, the watched metric and the rate of a row as one line."""
  parts = []
  if "train/loss" in row:
    parts.append(f"loss {row['train/loss']:.4f}")
  for split in ("train", "eval"):
    value = row.get(f"{split}/{watched.name}")
    if value is not None:
      unit = f" {watched.unit}" if watched.unit else ""
      parts.append(f"{split} {watched.label} {value * watched.factor:.2f}{unit}")
  if "eval/count" in row:
    parts.append(f"{row['eval/count']:,} examples")
  if "images_per_second" in row and "train/loss" in row:
    parts.append(f"{row['images_per_second']:,.0f} images/s")
  return "  ".join(parts)
