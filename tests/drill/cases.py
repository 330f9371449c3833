"""What a drill checks: a case is one bad input or fault, with the rule that cnnlab must keep.

The rule: success, or one clear message on standard error (what is wrong, what was given, what is
allowed) with exit code 2 and nothing written or lost. Never a traceback, a hang, an orphan process
or a silent loss.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
MESSAGE_LINES = 12  # a message that lists bad files or keys may have several lines

# What may become of a case; all but the first two are bad.
GOOD = ("success", "refused")
BAD = ("traceback", "accepted", "unclear", "wrote", "lost", "orphan", "hang", "crash")


Verdict = tuple[str, str]  # how a case ended, and the evidence


class Bad(Exception):
  """The rule is broken: in which way (one of `BAD`), and the evidence."""

  def __init__(self, kind: str, evidence: str = ""):
    super().__init__(kind, evidence)
    self.kind, self.evidence = kind, evidence


@dataclass(frozen=True)
class Case:
  """One bad input or fault.

  Attributes:
    kind: row of the table, such as 'config: nan'.
    name: what exactly, such as 'optim.momentum=nan'.
    check: gets an empty directory; returns 'success' or 'refused', or raises `Bad`. It must be
      picklable: a module-level function, with `arguments` for what it needs to know.
    arguments: further positional arguments of `check`.
    timeout: seconds until it counts as a hang.
  """

  kind: str
  name: str
  check: Callable[..., str]
  arguments: tuple = ()
  timeout: float = 60.0


@dataclass(frozen=True)
class Result:
  """How a command ended."""

  code: int
  out: str
  err: str
  trace: str = ""
  command: tuple[str, ...] = field(default=(), repr=False)


def command(*argv: str) -> Result:
  """Runs `cnnlab ARGV` in this process, which saves the seconds of starting one."""
  from cnnlab.cli.main import main

  out, err, trace, code = io.StringIO(), io.StringIO(), "", 0
  logging.getLogger().handlers.clear()  # so that `main` sends warnings to this standard error
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
      code = main(list(argv))
    except SystemExit as stop:  # argparse
      code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
      trace, code = traceback.format_exc(), 1
  return Result(code, out.getvalue(), err.getvalue(), trace, argv)


def process(
  *argv: str, timeout: float = 60.0, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Result:
  """Runs `python -m cnnlab ARGV` as a process of its own.

  Raises:
    Bad: it hangs.
  """
  line = [sys.executable, "-m", "cnnlab", *argv]
  environment = {**os.environ, "PYTHONPATH": str(PROJECT), **(env or {})}
  try:
    done = subprocess.run(
      line, capture_output=True, timeout=timeout, env=environment, cwd=cwd or PROJECT, check=False
    )
  except subprocess.TimeoutExpired as error:
    raise Bad("hang", " ".join(argv)) from error
  out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
  return Result(done.returncode, out, err, command=argv)


def judge(result: Result, mentions: Sequence[str] = (), may_succeed: bool = True) -> str:
  """Returns 'success' or 'refused' for how a command ended, or raises `Bad`.

  Args:
    result: of `command` or `process`.
    mentions: texts (the field or file, what was given) that a refusal must name.
    may_succeed: False where success means that nonsense was accepted.
  """
  shown = f"cnnlab {' '.join(result.command)}\n{result.trace or result.err or result.out}"[-3000:]
  if result.trace or "Traceback (most recent call last)" in result.err + result.out:
    raise Bad("traceback", shown)
  if result.code == 0:
    if not may_succeed:
      raise Bad("accepted", shown)
    return "success"
  if result.code != 2:
    raise Bad("crash" if result.code < 0 else "unclear", f"exit code {result.code}: {shown}")
  message = result.err.strip()
  plain = re.sub(r"\s+", " ", message)  # rich and argparse break lines
  missing = [text for text in mentions if re.sub(r"\s+", " ", text) not in plain]
  if "error:" not in message or missing or len(message.splitlines()) > MESSAGE_LINES:
    raise Bad("unclear", f"does not name {missing}: {shown}" if missing else shown)
  return "refused"


@functools.cache
def kept_directory(name: str) -> Path:
  """Returns an empty directory that lasts as long as this process; one for each name."""
  _KEPT.append(tempfile.TemporaryDirectory(prefix=f"drill-{name}-", ignore_cleanup_errors=True))
  return Path(_KEPT[-1].name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def files_below(directory: Path) -> dict[str, bytes | str]:
  """Returns the content of every file below a directory, to compare before with after."""
  found: dict[str, bytes | str] = {}
  for path in sorted(directory.rglob("*")):
    name = str(path.relative_to(directory))
    if path.is_symlink():
      found[name] = f"link to {os.readlink(path)}"
    elif path.is_file():
      found[name] = path.read_bytes()
    else:
      found[name] = "not a plain file"
  return found


def end_of(case: Case) -> Verdict:
  """Returns how a case ends, checked in an empty directory that is removed afterwards."""
  with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as directory:
    try:
      return case.check(Path(directory), *case.arguments), ""
    except Bad as bad:
      return bad.kind, bad.evidence
