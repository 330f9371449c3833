"""Output for terminals: text from files, arguments and errors is shown, never obeyed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from cnnlab.errors import printable


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


class PrintableFormatter(logging.Formatter):
  """Formats log messages so that the names and errors in them cannot act on a terminal."""

  def format(self, record: logging.LogRecord) -> str:
    """Returns the record as text."""
    return printable(super().format(record))


def log_to_stderr() -> None:
  """Sends warnings, and what cnnlab tells, to standard error, unless logging is set up already."""
  handler = logging.StreamHandler()
  handler.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
  logging.basicConfig(handlers=[handler], level=logging.WARNING)
  logging.getLogger("cnnlab").setLevel(logging.INFO)
  logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every file
