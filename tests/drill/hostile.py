"""Texts that would run, break a line or act on a terminal, and what checks that they did not."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tests.drill.cases import Bad, Result, command, kept_directory

if TYPE_CHECKING:
  from cnnlab.lab.plan import RunSpec

SEED = 10
MARKER = "executed"  # a file that appears in the working directory if something is executed
# What would run, or break a line, a path, a table or markup, if it were taken literally.
HOSTILE = (
  f"$(touch {MARKER})",
  f"`touch {MARKER}`",
  f"; touch {MARKER} ;",
  f"a\ntouch {MARKER}\n#",
  f"a\rtouch {MARKER}",
  f"' ; touch {MARKER} ; '",
  f'" ; touch {MARKER} ; "',
  f"| touch {MARKER}",
  f"&& touch {MARKER}",
  "two words",
  "it's",
  'a "quote"',
  "back\\slash",
  "100%j %t %A",
  "*",
  "~",
  "#comment",
  "--help",
  "[bold red]markup[/]",
  "日本",
)
ESCAPE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e"


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check_controls(result: Result) -> None:
  """Checks that the output holds nothing that a terminal obeys or cannot show."""
  for text in (result.out, result.err):
    if found := _CONTROLS.search(text):
      place = text[max(0, found.start() - 60) : found.end() + 60]
      raise Bad("unclear", f"{result.command} prints a control character: {place!r}")


def check_marker(*directories: Path) -> None:
  """Checks that no hostile text was executed, in these directories or the current one."""
  for directory in (*directories, Path.cwd()):
    if (directory / MARKER).exists():
      (directory / MARKER).unlink()
      raise Bad("accepted", f"a command was executed in {directory}")


SWEEP = (
  "sweep",
  "downsampling_digits",
  "--recipe=tiny",
  "--only=max",
  "--seeds=2",
  "--config.max_steps=2",
)


@functools.cache
def _base() -> Path:
  """Trains a sweep of two runs; returns its root."""
  root = kept_directory("security") / "runs"
  result = command(*SWEEP, f"--root={root}")
  if result.code:
    raise RuntimeError(result.trace or result.err or result.out)
  return root


def trained(directory: Path) -> Path:
  """Copies a finished sweep of two runs into a directory; returns the copy."""
  shutil.copytree(_base() / "downsampling_digits", directory / "downsampling_digits")
  return directory / "downsampling_digits"


_SBATCH = f"""#!{sys.executable}
import os, pathlib, subprocess, sys
text = pathlib.Path(sys.argv[1]).read_text()
with open(os.environ["FAKE_SLURM"], "a") as file:
  file.write(text)
subprocess.run(["bash", "-c", text], cwd=os.path.dirname(os.environ["FAKE_SLURM"]))
print("Submitted batch job 77")
"""


@contextlib.contextmanager
def fake_slurm(directory: Path) -> Iterator[Path]:
  """Puts stand-ins in front of PATH: sbatch keeps and runs the script, in which srun does nothing."""
  folder = directory / "bin"
  folder.mkdir()
  for name, text in {"sbatch": _SBATCH, "srun": "#!/bin/sh\n"}.items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o755 | stat.S_IXUSR)
  script = directory / "script"
  changed = {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_SLURM": str(script)}
  with mock.patch.dict(os.environ, changed), contextlib.chdir(directory):
    yield script


def spec_of(root: Path, label: str) -> RunSpec:
  """Returns a run of `tests.launch.fakes`."""
  from cnnlab.lab.plan import RunSpec

  return RunSpec(f"{label}/seed0", label, 0, str(root / label), "page.py", {"steps": 1})
