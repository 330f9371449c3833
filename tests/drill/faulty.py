"""A process in which file operations below a directory fail: a server of `cnnlab` commands.

`faulty.c` is preloaded into it, so that operations of compiled code (Orbax) fail as well.
"""

from __future__ import annotations

import atexit
import ctypes
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.drill.cases import PROJECT, Result, command, kept_directory

COMPILER = shutil.which("cc") or shutil.which("gcc")
KINDS = ("create", "write", "fsync", "rename", "mkdir", "open", "read")
SHORT = -1000  # as a fault: a write takes half of what it is given


@dataclasses.dataclass(frozen=True)
class Fault:
  """What fails.

  Attributes:
    kinds: of `KINDS`.
    how: an errno, a negative signal that is sent before the operation, or `SHORT`.
    at: which operation of these kinds, counted from 0; -1: none.
    always: whether all later ones that need new space fail as well.
  """

  kinds: tuple[str, ...] = ()
  how: int = 0
  at: int = -1
  always: bool = False

  @property
  def mask(self) -> int:
    """The kinds as bits."""
    return sum(1 << KINDS.index(kind) for kind in self.kinds)


@dataclasses.dataclass(frozen=True)
class Ended:
  """How a command ended under a fault.

  Attributes:
    result: None if the process was killed.
    counts: operations of each kind below the directory.
    failed: how many of them failed.
  """

  result: Result | None
  counts: dict[str, int] = dataclasses.field(default_factory=dict)
  failed: int = 1


def run(argv: tuple[str, ...], directory: Path, fault: Fault) -> Ended:
  """Runs `cnnlab ARGV` while a fault lies below a directory; the process is kept for the next."""
  server = _server()
  request = {"argv": argv, "directory": str(directory), "fault": dataclasses.asdict(fault)}
  assert server.stdin
  assert server.stdout
  server.stdin.write(json.dumps(request) + "\n")
  server.stdin.flush()
  line = server.stdout.readline()
  if not line:
    server.wait()
    _server.cache_clear()
    return Ended(None)
  answer = json.loads(line)
  result = Result(*(answer[key] for key in ("code", "out", "err", "trace")), argv)
  return Ended(result, answer["counts"], answer["failed"])


@functools.cache
def _server() -> subprocess.Popen[str]:
  server = subprocess.Popen(
    [sys.executable, "-m", "tests.drill.faulty"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    cwd=PROJECT,
    env={**os.environ, "LD_PRELOAD": str(_library())},
  )
  atexit.register(server.kill)
  return server


@functools.cache
def _library() -> Path:
  assert COMPILER, "needs a C compiler"
  library = kept_directory("faulty") / "faulty.so"
  source = Path(__file__).with_suffix(".c")
  subprocess.run(
    [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
  )
  return library


def main() -> None:
  """Serves commands until its standard input closes."""
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # what compiled code prints is no answer
  shim = ctypes.CDLL(os.environ.pop("LD_PRELOAD"))
  for line in sys.stdin:
    request: dict[str, Any] = json.loads(line)
    fault = Fault(**request["fault"])
    counts = (ctypes.c_long * (len(KINDS) + 1))()
    shim.faulty_arm(
      request["directory"].encode(), fault.mask, ctypes.c_long(fault.at), fault.how, fault.always
    )
    result = command(*request["argv"])
    shim.faulty_counts(counts)
    shim.faulty_arm(b"", 0, ctypes.c_long(-1), 0, 0)
    *each, failed = counts
    answer = {"counts": dict(zip(KINDS, each, strict=True)), "failed": failed}
    answer |= {key: getattr(result, key) for key in ("code", "out", "err", "trace")}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
  main()
