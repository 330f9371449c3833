"""Measurements in a process of their own: the threads of one framework would slow down another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from cnnlab.types import Json


def run_program(
  arguments: Sequence[str],
  *,
  environment: Mapping[str, str] | None = None,
  stdin: str | None = None,
) -> Json:
  """Runs Python with these arguments; returns the JSON in its last line, or {"error": why not}.

  Args:
    arguments: `-m`, the module, and its arguments.
    environment: variables of the process; None for this one's.
    stdin: text for its standard input.
  """
  done = subprocess.run(
    [sys.executable, *arguments],
    env=environment,
    input=stdin,
    capture_output=True,
    text=True,
    check=False,
  )
  lines = done.stdout.strip().splitlines()
  if done.returncode or not lines:
    return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
  return json.loads(lines[-1])
