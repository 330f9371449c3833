"""The live bar of a training run: steps, rate, time left, last metrics."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
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


class _Rate(ProgressColumn):
  """Steps per second."""

  def render(self, task: Task) -> Text:
    return Text(f"{task.speed:.1f} steps/s" if task.speed else "compiling", style="cyan")


class TrainProgress:
  """A bar on a terminal, plain lines elsewhere; use as a context manager.

  `step` and `report` are what `cnnlab.train.train` calls.
  """

  def __init__(self, title: str, watched: Metric):
    """Initializes the bar.

    Args:
      title: what stands before it.
      watched: metric of the task that is shown, in training and evaluation.
    """
    self._watched = watched
    self._console = Console(stderr=True)
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
    """Moves the bar."""
    self._bar.update(self._task, completed=step, total=total)

  def report(self, row: dict[str, Any]) -> None:
    """Shows a row of metrics: beside the bar, and as a line where it has an evaluation."""
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


def describe_row(row: dict[str, Any], watched: Metric) -> str:
  """Returns loss, the watched metric and the rate of a row, in one line."""
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
