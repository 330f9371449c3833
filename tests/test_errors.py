import os

import pytest

from cnnlab.errors import printable


@pytest.mark.parametrize(
  ("name", "shown"),
  [
    ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
    ("a\rb\x9bc\x7f", r"a\x0db\x9bc\x7f"),
    (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
    ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
    ("two\nlines\tand 日本 été", "two\nlines\tand 日本 été"),
  ],
)
def test_what_a_terminal_would_obey_is_shown_as_escapes(name, shown):
  assert printable(name) == shown
  printable(name).encode()
