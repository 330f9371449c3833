"""What a task tells of evaluated examples beside its metrics: tables, figures, which to look at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.metrics import Metric

PER_CLASS = "per_class"


class Pick(NamedTuple):
  """An evaluated example that is worth looking at.

  Attributes:
    example: its position in the split.
    caption: one or two short lines that stand above its image.
  """

  example: int
  caption: str


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of an analysis.

  Attributes:
    frame: the whole table as numbers, which is saved as CSV.
    shown: the part of it that fits a page, as text; the first column names the rows.
    about: what it shows, in a sentence or two.
    words: columns of `shown` that hold words beside the first; the others hold numbers.
    in_figure: whether the figure of the same name shows all of it.
  """

  frame: pd.DataFrame
  shown: pd.DataFrame
  about: str
  words: tuple[str, ...] = ()
  in_figure: bool = False


@dataclasses.dataclass(frozen=True)
class Analysis:
  """What is known of an evaluation beside the metrics of its task.

  Attributes:
    summary: {name: value} of single numbers as text, such as a calibration error.
    tables: by name, such as `per_class` or `confusion`; each is saved as `<name>.csv`.
    figures: {name: draws it}; each is saved as `<name>.svg` and `<name>.png`.
    examples: one row for each example, in the split's order.
    picks: examples to look at, such as the most confident mistakes, the most striking first.
    picks_name: what they are called, as a file and as a heading.
    about_picks: what they are.
  """

  summary: Mapping[str, str]
  tables: Mapping[str, Table]
  figures: Mapping[str, Callable[[], Figure]]
  examples: pd.DataFrame
  picks: tuple[Pick, ...] = ()
  picks_name: str = "mistakes"
  about_picks: str = ""


def with_classes(
  analysis: Analysis | None,
  row: Mapping[str, float | None],
  declared: Iterable[Metric],
  examples: Mapping[str, np.ndarray],
) -> Analysis | None:
  """Returns an analysis with a table `per_class` of the metrics that are measured for each class.

  Args:
    analysis: of the task; returned as it is if it has such a table, or if no metric is per class.
    row: the metrics of the evaluation, such as `eval/iou/road`.
    declared: of the task.
    examples: what was kept of each example.
  """
  table = _per_class(row, [metric for metric in declared if metric.per_class])
  if table is None or (analysis and PER_CLASS in analysis.tables):
    return analysis
  columns = {name: array for name, array in examples.items() if array.ndim == 1}
  analysis = analysis or Analysis(
    {}, {}, {}, pd.DataFrame(columns).rename_axis("example").reset_index()
  )
  return dataclasses.replace(analysis, tables={PER_CLASS: table, **analysis.tables})


def _per_class(row: Mapping[str, float | None], declared: Sequence[Metric]) -> Table | None:
  values = {
    f"{metric.label or metric.name} ({metric.unit})"
    if metric.unit
    else metric.label or metric.name: {
      name.removeprefix(f"eval/{metric.name}/"): math.nan
      if value is None
      else value * metric.factor
      for name, value in row.items()
      if name.startswith(f"eval/{metric.name}/")
    }
    for metric in declared
  }
  frame = pd.DataFrame({name: column for name, column in values.items() if column})
  if not len(frame):
    return None
  shown = frame.map(lambda value: "–" if math.isnan(value) else f"{value:.2f}")
  frame, shown = (one.rename_axis("class").reset_index() for one in (frame, shown))
  return Table(frame, shown, "By class, at this evaluation; – where it is not defined.")


def percent(fraction: float) -> str:
  """Returns a fraction in percent with one decimal; a dash where it is not defined."""
  return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"
