import io
import logging

from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnnlab.terminal import PrintableFormatter, SafeConsole

HOSTILE = "\x1b]0;title\x07caf\udce9"
SHOWN = r"\x1b]0;title\x07caf\xe9"


def test_a_console_shows_what_a_terminal_would_obey():
  text = io.StringIO()
  console = SafeConsole(file=text, width=80)
  table = Table("name")
  table.add_row(HOSTILE)
  console.print(HOSTILE, markup=False)
  console.print(Text("\x1b[2J"))
  console.print(table)
  with Live(table, console=console):
    pass
  assert text.getvalue().count(SHOWN) == 3
  assert r"\x1b[2J" in text.getvalue()
  assert text.getvalue().replace("\n", "").isprintable()


def test_colours_of_its_own_stay():
  text = io.StringIO()
  SafeConsole(file=text, force_terminal=True, color_system="standard").print("[red]x[/]")
  assert "\x1b[31mx" in text.getvalue()


def test_log_messages_are_escaped():
  record = logging.LogRecord("x", logging.WARNING, "", 0, "in %s", (HOSTILE,), None)
  assert PrintableFormatter("%(levelname)s: %(message)s").format(record) == f"WARNING: in {SHOWN}"
