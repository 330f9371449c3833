"""Output for terminals: text from files, arguments and errors is shown, never obeyed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cnnlab.errors import printable

_GAP = 2  # columns between the parts of a line
_SHORTEST_BAR, _LONGEST_BAR = 10, 40


class SafeConsole(Console):
  """A console that shows control characters of what it prints as escapes; all output uses it."""

  def render_str(self, text: str, **options: Any) -> Text:
    """Returns text with its markup applied; escaped here, it is measured as it is shown."""
    return super().render_str(printable(text), **options)

  def render(
    self, renderable: RenderableType, options: ConsoleOptions | None = None
  ) -> Iterable[Segment]:
    """Returns the segments of what is to be printed."""
    for segment in super().render(renderable, options):
      # Those with `control` move the cursor of a progress bar.
      yield segment if segment.control else Segment(printable(segment.text), segment.style)


class TerminalLive(Live):
  """A display that is drawn again and again, where the console is a terminal; it leaves nothing.

  Args:
    console: where to draw.
    render: returns what is drawn.
  """

  def __init__(self, console: Console, render: Callable[[], RenderableType]):
    super().__init__(console=console, get_renderable=render, transient=True)

  def start(self, refresh: bool = False) -> None:
    """Begins to draw, on a terminal."""
    if self.console.is_terminal:
      super().start(refresh)


class PrintableFormatter(logging.Formatter):
  """Formats log messages so that the names and errors in them cannot act on a terminal."""

  def format(self, record: logging.LogRecord) -> str:
    """Returns the record as text."""
    return printable(super().format(record))


class _ToStderr(logging.StreamHandler):
  """Writes to what `sys.stderr` is at the moment: a bar on the terminal puts itself in its place."""

  def __init__(self) -> None:
    logging.Handler.__init__(self)

  @property
  def stream(self) -> TextIO:  # type: ignore[override]
    return sys.stderr


def log_to_stderr() -> None:
  """Sends warnings, and what cnnlab tells, to standard error, unless logging is set up already."""
  handler = _ToStderr()
  handler.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
  logging.basicConfig(handlers=[handler], level=logging.WARNING)
  logging.getLogger("cnnlab").setLevel(logging.INFO)
  logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every file


class ProgressLine:
  """A line of any width with a text, a bar and details, of which the first are left out first.

  Args:
    text: what is left of the bar.
    share: of the bar that is full, 0 to 1.
    details: what is right of it, the least important first.
  """

  def __init__(self, text: str, share: float, details: Sequence[str]):
    self._text, self._share, self._details = text, share, [d for d in details if d]

  def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
    """Yields the line."""
    details = list(self._details)
    while details and self._room(options.max_width, details) < _SHORTEST_BAR:
      details.pop(0)
    width = min(self._room(options.max_width, details), _LONGEST_BAR)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    cells: list[RenderableType] = [Text(self._text), *map(Text, details)]
    if width > 0:
      cells.insert(1, ProgressBar(total=1.0, completed=self._share, width=width))
    for _ in cells:
      grid.add_column(no_wrap=True)
    grid.add_row(*cells)
    yield grid

  def _room(self, width: int, details: Sequence[str]) -> int:
    """Returns how many columns are left for the bar."""
    return width - sum(cell_len(part) + _GAP for part in (self._text, *details))


class Fitted:
  """As many of some texts, in their order, as fit on one line."""

  def __init__(self, parts: Sequence[str], style: str = ""):
    self._parts, self._style = parts, style

  def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
    """Yields the line."""
    for count in range(len(self._parts), 0, -1):
      line = (" " * _GAP).join(self._parts[:count])
      if cell_len(line) <= options.max_width or count == 1:
        break
    yield Text(line, style=self._style, no_wrap=True, overflow="ellipsis")


def clock(seconds: float) -> str:
  """Returns a duration as `0:08`, `12:30`, `3:07:00` or `2 d 3:07:00`."""
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  days, hour = divmod(hours, 24)
  if not hours:
    return f"{minute}:{second:02d}"
  return f"{f'{days} d ' if days else ''}{hour}:{minute:02d}:{second:02d}"


def steps_per_second(rate: float) -> str:
  """Returns a rate as `0.025 steps/s`, `12.3 steps/s` or `1,234 steps/s`; empty for none."""
  if not rate:
    return ""
  return f"{rate:.3g} steps/s" if rate < 1000 else f"{rate:,.0f} steps/s"
