"""What a task tells of evaluated examples beside its metrics: tables, figures, which to look at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure


class Pick(NamedTuple):
  """An evaluated example that is worth looking at.

  Attributes:
    index: its position in the split.
    caption: one or two short lines that stand above its image.
  """

  index: int
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


def percent(fraction: float) -> str:
  """Returns a fraction in percent with one decimal; a dash where it is not defined."""
  return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"
