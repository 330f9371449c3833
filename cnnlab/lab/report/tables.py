"""Tables of a report as plain values, from which its HTML and its Markdown are both made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
  """A cell of a table.

  Attributes:
    text: what it says.
    note: further words, in small letters below it.
    code: shown between the two in the letters of a program, such as a formula; may be empty.
    style: CSS classes in HTML; `strong` is bold in Markdown, too.
  """

  text: str
  note: str = ""
  code: str = ""
  style: str = ""


@dataclass(frozen=True)
class Column:
  """The heading of a column; words (`left`) are aligned to the left, numbers to the right."""

  heading: str
  left: bool = False


@dataclass
class Table:
  """A table with at least one row.

  Attributes:
    columns: headings; the first column names the rows.
    rows: a cell for each column.
    strong: the indices of the rows that stand out, such as the base.
  """

  columns: Sequence[Column]
  rows: list[list[Cell]] = field(default_factory=list)
  strong: set[int] = field(default_factory=set)

  def add(self, *cells: Cell | str, strong: bool = False) -> None:
    """Appends a row; texts become cells."""
    if strong:
      self.strong.add(len(self.rows))
    self.rows.append([Cell(c) if isinstance(c, str) else c for c in cells])


def columns(first: str, *numbers: str, words: Iterable[str] = ()) -> list[Column]:
  """Returns the columns of a table: the first and those in `words` hold words, the others numbers."""
  wordy = {first, *words}
  return [Column(heading, heading in wordy) for heading in (first, *numbers)]
