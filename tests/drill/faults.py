"""A fault at each kind of file operation of a training; then the same command without it.

The directory must end bit for bit as if nothing had happened. Operations are counted in a training
without faults, and some, evenly spread, fail in turn.
"""

from __future__ import annotations

import errno
import functools
import json
import signal
import tempfile
from pathlib import Path

from tests.drill import faulty, trained
from tests.drill.cases import Bad, Case, judge
from tests.drill.faulty import Fault

WRITING = ("create", "write", "fsync", "rename", "mkdir")
ANY = faulty.KINDS
ONCE = {
  "ENOSPC": ("create", "write", "fsync", "rename", "mkdir"),
  "EIO": ("write", "fsync", "rename", "read"),
  "EACCES": ("create", "open", "rename", "mkdir"),
}
TIMEOUT = 300.0  # the first case of a worker compiles
POINTS = 3  # of each kind of operation
PHASES = ("a training", "a resume")


def cases() -> list[Case]:
  """Returns a case for each kind of fault, phase and point; none without a C compiler."""
  if not faulty.COMPILER:
    return []
  faults = {
    f"faults: {code} once": [Fault((kind,), getattr(errno, code)) for kind in kinds]
    for code, kinds in ONCE.items()
  }
  faults["faults: disk full from then on"] = [
    Fault(("create", "write", "mkdir"), errno.ENOSPC, always=True)
  ] * 2
  faults["faults: short write"] = [Fault(("write",), faulty.SHORT)]
  faults["faults: SIGINT"] = [Fault(ANY, -signal.SIGINT)] * 2
  faults["faults: SIGTERM"] = [Fault(ANY, -signal.SIGTERM)]
  faults["faults: SIGKILL"] = [Fault(WRITING, -signal.SIGKILL)]
  return [
    Case(
      row,
      f"{phase}: {', '.join(fault.kinds)}, {point + 1} of {points}",
      _check,
      (phase, fault, (point + 0.5) / points),
      timeout=TIMEOUT,
    )
    for row, several in faults.items()
    for fault, points in (
      (fault, POINTS * several.count(fault)) for fault in dict.fromkeys(several)
    )
    for phase in PHASES
    for point in range(points)
  ]


def _check(directory: Path, phase: str, fault: Fault, fraction: float) -> str:
  run = directory / "run"
  if phase == "a resume":
    trained.copy(trained.half(), run)
  total = sum(_counts(phase)[kind] for kind in fault.kinds)
  fault = Fault(fault.kinds, fault.how, int(total * fraction), fault.always)
  ended = _train(run, fault)
  end = "success" if ended.result is None else _judge(run, ended.result, fault)
  again = _train(run, Fault()).result
  assert again is not None
  if judge(again) != "success":
    raise Bad("lost", f"cannot be resumed: {again.err}\nat first: {ended.result}")
  try:
    trained.assert_same(run)
  except Bad as bad:
    raise Bad(bad.kind, f"{bad.evidence}\nat first: {ended.result}\nresumed: {again}") from bad
  return end


def _judge(run: Path, result: trained.Result, fault: Fault) -> str:
  signum = -fault.how if faulty.SHORT < fault.how < 0 else None
  if signum and result.code == 128 + signum and not result.trace:
    lines = [line for line in result.err.splitlines() if "Traceback" in line]
    if lines:
      raise Bad("traceback", result.err)
    _expect(run, "interrupted", result)
    return "refused"
  end = judge(result)
  _expect(run, "done" if end == "success" else "failed", result)
  return end


def _expect(run: Path, status: str, result: trained.Result) -> None:
  """Checks the status of a run, unless nothing of it was written."""
  path = run / "status.json"
  if not path.exists():
    return
  found = json.loads(path.read_text())["status"]
  if found != status:
    raise Bad("unclear", f"the status is {found!r}, not {status!r}: {result}")


def _train(run: Path, fault: Fault) -> faulty.Ended:
  return faulty.run((*trained.ARGUMENTS, f"--workdir={run}"), run, fault)


@functools.cache
def _counts(phase: str) -> dict[str, int]:
  """Returns how many operations of each kind a phase has without a fault."""
  with tempfile.TemporaryDirectory(prefix="drill-") as folder:
    run = Path(folder) / "run"
    if phase == "a resume":
      trained.copy(trained.half(), run)
    return _train(run, Fault()).counts
