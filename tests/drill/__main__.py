"""Runs the drill: `python -m tests.drill [PART ...] [--match TEXT] [--workers N]`.

Prints a table of counts and every bad case; the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import TimeoutError as HangError
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.drill.cases import BAD, GOOD, Case, Verdict, end_of

PARTS = ("values", "data", "run_directory", "faults", "experiments", "security", "kills")


def main() -> int:
  """Runs the parts that are asked for; returns the exit code."""
  parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
  parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
  parser.add_argument("--match", default="", help="only cases whose kind or name contains this")
  parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
  parser.add_argument("--json", type=Path, help="also write every case and its end to this file")
  arguments = parser.parse_args()
  if wrong := set(arguments.parts) - set(PARTS):
    parser.error(f"unknown part {', '.join(sorted(wrong))}; allowed: {', '.join(PARTS)}")
  cases = [
    case
    for part in arguments.parts or PARTS
    for case in importlib.import_module(f"tests.drill.{part}").cases()
    if arguments.match in f"{case.kind} {case.name}"
  ]
  began = time.monotonic()
  verdicts = _run(cases, arguments.workers)
  console = Console(highlight=False)
  _show(console, cases, verdicts)
  console.print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")
  if arguments.json:
    rows = [
      {"kind": case.kind, "name": case.name, "end": end, "evidence": evidence}
      for case, (end, evidence) in zip(cases, verdicts, strict=True)
    ]
    arguments.json.write_text(json.dumps(rows, indent=1))
  return int(any(end not in GOOD for end, _ in verdicts))


def _run(cases: list[Case], workers: int) -> list[Verdict]:
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
  context = multiprocessing.get_context("spawn")
  # The allocator's arenas grow over hundreds of trainings: a worker is replaced now and then.
  with ProcessPool(max_workers=workers, max_tasks=200, context=context) as pool:
    futures = [pool.schedule(end_of, args=(case,), timeout=case.timeout) for case in cases]
    return [
      _verdict(future) for future in track(futures, "drill", console=Console(file=sys.stderr))
    ]


def _verdict(future: ProcessFuture) -> Verdict:
  try:
    return future.result()
  except HangError:
    return "hang", "no end within its time limit"
  except ProcessExpired as error:
    return "crash", str(error)
  except Exception as error:  # a fault of the case itself must not cost the others' results
    return "crash", f"the case itself failed: {type(error).__name__}: {error}"


def _show(console: Console, cases: list[Case], verdicts: list[Verdict]) -> None:
  counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
  for case, (end, evidence) in zip(cases, verdicts, strict=True):
    counts[case.kind][end] += 1
    if end not in GOOD:
      console.print(f"[red]{end}[/] {case.kind}: ", end="")
      console.print(f"{case.name}\n{evidence}\n", markup=False)
  total = sum(counts.values(), collections.Counter())
  ends_shown = [*GOOD, *(end for end in BAD if total[end])]
  table = Table("kind", "cases", *ends_shown)
  for kind, ends in counts.items():
    table.add_row(kind, str(ends.total()), *(str(ends[end] or "") for end in ends_shown))
  table.add_section()
  table.add_row("all", str(total.total()), *(str(total[end] or "") for end in ends_shown))
  console.print(table)


if __name__ == "__main__":
  sys.exit(main())
