"""Config pages and command lines that cannot be read, or that return or set nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.drill.cases import Bad, Case, command, judge
from tests.drill.nonsense import LONG

PAGES: dict[str, bytes | None] = {
  "raises": b"def get_config(arg=''):\n  raise RuntimeError('no')\n",
  "raises on import": b"raise ValueError('no')\n",
  "divides by zero": b"def get_config(arg=''):\n  return 1 / 0\n",
  "exits": b"import sys\nsys.exit(1)\n",
  "imports what is missing": b"import no_such_module\n",
  "syntax": b"def get_config(arg=''):\n  return (\n",
  "tabs": b"def get_config(arg=''):\n\tif 1:\n        return 1\n",
  "returns None": b"def get_config(arg=''):\n  pass\n",
  "returns a list": b"def get_config(arg=''):\n  return []\n",
  "returns a dict": b"def get_config(arg=''):\n  return {'seed': 1}\n",
  "returns an empty config": b"from ml_collections import ConfigDict\nget_config = lambda arg='': ConfigDict()\n",
  "is no function": b"get_config = 3\n",
  "takes no argument": b"def get_config():\n  return None\n",
  "has none": b"x = 1\n",
  "empty": b"",
  "binary": bytes(range(256)) * 8,
  "not UTF-8": b"x = '\xff\xfe'\n",
  "NUL": b"x = 1\0\n",
  "a directory": None,
}
SETTERS = (
  "config.optim = None",
  "config.optim = 3",
  "config.data.name = None",
  "config.model = None",
  "config.model.name = ['a']",
  "config.task.name = 3",
  "config.seed = float('nan')",
  "config.seed = 'a'",
  "config.model.features = (object(),)",
  "config.model.features = {1, 2}",
  "config.data.image_size = float('inf')",
  "config.schedule.boundaries = None",
  "config.no_such_key = 1",
  "del config['seed']",
  "del config['optim']",
)
COMMANDS = (
  ("--config.optim=3",),
  ("--config.optim.momentum",),
  ("--config.",),
  ("--config.=3",),
  ("--config..=3",),
  ("--config.optim.momentum=",),
  ("--config.optim.momentum=1e999",),
  ("--config.optim.momentum=" + "(" * 5000,),
  ("--config.seed=" + "9" * 5000,),
  ("--config.model=3",),
  ("--config.model.a.b=3",),
  ("--config.model.features.x=3",),
  ("--config.task=None",),
  ("--config.data.name=" + LONG,),
  (f"--config.{LONG}=1",),
  ("--config.seed=[1,[2,[3]]]",),
  ("--config.optim.groups=[{'pattern':['a']}]",),
)


def cases() -> Iterator[Case]:
  """Yields the cases of pages and command lines."""
  for name, content in PAGES.items():
    yield Case("pages", name, _page, (content,))
  for line in SETTERS:
    page = (
      "from cnnlab.configs.digits import get_config as base\ndef get_config(arg=''):\n"
      f"  config = base('tiny')\n  {line}\n  return config\n"
    )
    yield Case("pages", line, _page, (page.encode(),))
  for argv in COMMANDS:
    yield Case("command line", argv[0][:60], _command, argv)
  for page in (
    LONG,
    "a\0b",
    "",
    ":",
    "/dev/null",
    "configs/digits.py:" + LONG,
    "configs/digits.py:\u202e",
  ):
    yield Case("pages", f"--config={page[:40]!r}", _no_page, (page,))


def _page(directory: Path, content: bytes | None) -> str:
  page = directory / "page.py"
  page.mkdir() if content is None else page.write_bytes(content)
  return _judged(directory, f"--config={page}")


def _no_page(directory: Path, page: str) -> str:
  return _judged(directory, f"--config={page}")


def _command(directory: Path, argument: str) -> str:
  return _judged(directory, "--config=configs/digits.py:tiny", argument)


def _judged(directory: Path, *argv: str) -> str:
  end = judge(command("train", *argv, f"--workdir={directory / 'run'}"), may_succeed=False)
  if (directory / "run").exists():
    raise Bad("wrote", " ".join(argv)[:500])
  return end
