"""Sweeps whose launcher or workers are killed or interrupted at random: the same command finishes them.

Afterwards no process is left, no run counts as failed, and once the command has been repeated each
run's metrics and parameters are those of the undisturbed sweep, bit for bit.

`python -m tests.drill.kills LAUNCHER WORKERS ROOT` is the sweep that is killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.drill.cases import PROJECT, Bad, Case

PAGE = "configs/digits.py:tiny"
LABELS = ("a", "b")
STEPS = 60
OVERRIDES = {
  "max_steps": STEPS,
  "log_every_steps": 5,
  "checkpoint_every_steps": 10,
  "checkpoint_every_epochs": 0.0,
  "eval_every_epochs": 0.0,
}
MARK = (
  "CNNLAB_DRILL"  # a variable that every process of a case inherits, so that none is overlooked
)
LIMIT = 180.0  # seconds for one sweep of two tiny runs, on a machine that does other things too
LINGER = 30.0  # seconds for the last process to save its run and end
SEED = 10
AGAIN = "Run the same command to resume"


def cases() -> list[Case]:
  """Returns this part's cases: who is hit, by what, when."""
  draw = random.Random(SEED)
  # Before anything runs, while workers start and compile, and while they train.
  seconds = (0.1, 0.4, 1.0, round(draw.uniform(1.5, 2.5), 2), round(draw.uniform(2.5, 5), 2))
  rows = (draw.randint(1, 6), draw.randint(7, 22))
  hits = [
    *(("launcher", name, at) for name in ("SIGINT", "SIGTERM") for at in draw.sample(seconds, 2)),
    *(("launcher", "SIGKILL", at) for at in draw.sample(seconds[1:], 2)),
    *(("terminal", "SIGINT", at) for at in (seconds[0], *draw.sample(seconds[1:], 2))),
    *(("launcher", name, f"row {rows[0]}") for name in ("SIGINT", "SIGTERM", "SIGKILL")),
    ("launcher", "SIGKILL", f"row {rows[1]}"),
    *(("worker", name, f"row {rows[1]}") for name in ("SIGKILL", "SIGTERM", "SIGINT")),
    *(("worker", name, seconds[3]) for name in ("SIGKILL", "SIGTERM", "SIGINT")),
  ]
  found = [_case("local", *hit) for hit in hits]
  if _installed("submitit"):
    found += [
      _case("slurm", *hit)
      for hit in (
        ("launcher", "SIGINT", seconds[2]),
        ("launcher", "SIGINT", f"row {rows[0]}"),
        ("launcher", "SIGTERM", seconds[4]),
        ("launcher", "SIGKILL", f"row {rows[0]}"),
        ("worker", "SIGKILL", f"row {rows[1]}"),
      )
    ]
  if _installed("ray"):
    found += [
      _case("ray", *hit)
      for hit in (
        ("launcher", "SIGINT", f"row {rows[0]}"),
        ("launcher", "SIGKILL", f"row {rows[1]}"),
        ("worker", "SIGKILL", f"row {rows[0]}"),
      )
    ]
  return found


def _case(launcher: str, victim: str, name: str, at: float | str) -> Case:
  moment = at if isinstance(at, str) else f"{at} s"
  title = f"{victim}: {name} at {moment}"
  return Case(f"kills: {launcher}", title, _hit, (launcher, victim, name, at), 4 * LIMIT)


def _installed(package: str) -> bool:
  import importlib.util

  return importlib.util.find_spec(package) is not None


def _hit(directory: Path, launcher: str, victim: str, name: str, at: float | str) -> str:
  """Starts a sweep, hits it, and repeats its command; raises `Bad` if the rule is broken."""
  # On Ray and SLURM a job has all cores, of which the last digits depend.
  wanted = _undisturbed(workers=2 if launcher == "local" else 1)
  mark = f"{os.getpid()}-{directory.name}"
  with _environment(directory, launcher, mark) as environment:
    sweep = _start(directory, launcher, environment)
    _wait_for(at, sweep, directory)
    _send(sweep, victim, getattr(signal, name), mark)
    output = _end(sweep)
    _check_end(sweep.returncode, output, victim, name)
    _check_gone(mark, output)
    _check_statuses(directory, output)
    again = _start(directory, launcher, environment)
    output = _end(again)
    if again.returncode:
      raise Bad("lost", f"the repeated command ends with exit code {again.returncode}: {output}")
    _check_gone(mark, output)
  found = _results(directory / "runs")
  if found != wanted:
    raise Bad("lost", f"metrics or parameters differ from the undisturbed sweep's: {output}")
  return "success"


def _start(
  directory: Path, launcher: str, environment: dict[str, str], workers: int = 2
) -> subprocess.Popen[str]:
  line = [sys.executable, "-m", "tests.drill.kills", launcher, str(workers)]
  line.append(str(directory / "runs"))
  log = (directory / "log").open("w")  # not a pipe, which an orphan would hold open
  return subprocess.Popen(
    line, stdout=log, stderr=log, text=True, env=environment, cwd=PROJECT, start_new_session=True
  )


def _wait_for(at: float | str, sweep: subprocess.Popen[str], directory: Path) -> None:
  """Waits for a time, or for a number of rows of metrics of all runs together."""
  began = time.monotonic()

  def come() -> bool:
    if isinstance(at, float):
      return time.monotonic() - began >= at
    files = (directory / "runs").glob("*/seed*/metrics.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in files) >= int(at.split()[1])

  while sweep.poll() is None and not come():
    if time.monotonic() - began > LIMIT:
      sweep.kill()
      raise Bad("hang", f"{at} never came")
    time.sleep(0.01)


def _send(sweep: subprocess.Popen[str], victim: str, number: int, mark: str) -> None:
  if victim == "terminal":
    with contextlib.suppress(ProcessLookupError):
      os.killpg(sweep.pid, number)
  elif victim == "launcher":
    sweep.send_signal(number)
  else:
    for pid in _marked(mark)[::-1]:
      with contextlib.suppress(OSError):
        if pid != sweep.pid and _trains(pid):
          os.kill(pid, number)
          return


def _trains(pid: int) -> bool:
  """Returns whether a process is a worker: of `multiprocessing`, or of Ray with a task."""
  line = Path(f"/proc/{pid}/cmdline").read_bytes()
  return b"spawn_main" in line or line.startswith((b"ray::a", b"ray::b"))


def _end(sweep: subprocess.Popen[str]) -> str:
  """Returns a sweep's output once it has ended."""
  try:
    sweep.wait(timeout=LIMIT)
  except subprocess.TimeoutExpired as error:
    sweep.kill()
    raise Bad("hang", "the launcher does not end") from error
  return _log_of(sweep)[-3000:]


def _log_of(sweep: subprocess.Popen[str]) -> str:
  root = Path(sweep.args[-1])  # type: ignore[index]
  return (root.parent / "log").read_text(errors="backslashreplace")


def _check_end(code: int, output: str, victim: str, name: str) -> None:
  if "Traceback" in output or "Exception ignored" in output:
    raise Bad("traceback", output)
  stopped = code in (130, 143) or (name == "SIGKILL" and code == -signal.SIGKILL)
  # SIGTERM before Python has begun, or a signal after the last run, is nobody's to handle.
  early = name == "SIGTERM" and code == -signal.SIGTERM and not output
  if not (code == 0 or early or (stopped and (victim != "worker" or name != "SIGKILL"))):
    raise Bad("unclear", f"exit code {code}: {output}")
  if "error:" in output or (code == 130 and "nterrupted" not in output and AGAIN not in output):
    raise Bad("unclear", f"an interruption should say so, and is no error: {output}")


def _check_gone(mark: str, output: str) -> None:
  deadline = time.monotonic() + LINGER
  while left := _marked(mark):
    if time.monotonic() > deadline:
      lines = [Path(f"/proc/{pid}/cmdline").read_bytes()[-200:] for pid in left]
      for pid in left:
        with contextlib.suppress(ProcessLookupError):
          os.kill(pid, signal.SIGKILL)
      raise Bad("orphan", f"{lines} {output}")
    time.sleep(0.05)


def _check_statuses(directory: Path, output: str) -> None:
  for path in (directory / "runs").glob("*/seed*/status.json"):
    status = json.loads(path.read_text())
    if status["status"] == "failed":
      raise Bad(
        "lost", f"{path.parent.parent.name} is recorded as failed: {status['reason']} {output}"
      )


def _marked(mark: str) -> list[int]:
  """Returns the live processes that inherited a mark, oldest first."""
  found = []
  for entry in Path("/proc").iterdir():
    if entry.name.isdecimal():
      with contextlib.suppress(OSError):
        # Ray's own agents notice after a minute that their cluster was killed, and end.
        agent = (entry / "cmdline").read_bytes().startswith((b"ray::Dashboard", b"ray::RuntimeEnv"))
        if not agent and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
          state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
          found += [int(entry.name)] if state not in "ZX" else []
  return sorted(found)


def _results(root: Path) -> dict[str, object]:
  """Returns each run's metrics and the bytes of its final variables."""
  import jax
  import numpy as np

  from cnnlab import runs

  logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's warnings
  return {
    label: (
      next(root.glob(f"{label}/seed*/metrics.jsonl")).read_text(),
      [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(runs.load(directory).variables)],
    )
    for label in LABELS
    for directory in root.glob(f"{label}/seed*")
  }


@functools.cache
def _undisturbed(workers: int) -> dict[str, object]:
  with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as name:
    directory = Path(name)
    with _environment(directory, "local", name) as environment:
      sweep = _start(directory, "local", environment, workers)
      output = _end(sweep)
    if sweep.returncode:
      raise Bad("crash", f"the undisturbed sweep: {output}")
    return _results(directory / "runs")


@contextlib.contextmanager
def _environment(directory: Path, launcher: str, mark: str) -> Iterator[dict[str, str]]:
  """Yields the environment of a case's processes."""
  environment = {**os.environ, "PYTHONPATH": str(PROJECT), MARK: mark, "PYTHONUNBUFFERED": "1"}
  if launcher == "slurm":
    folder = directory / "bin"
    folder.mkdir()
    for name, text in FAKE_SLURM.items():
      path = folder / name
      path.write_text(f"#!{sys.executable}\n{text}")
      path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_SLURM": str(directory / "jobs")}
    (directory / "jobs").mkdir()
  yield environment


# A cluster of one machine: a job is a process group, whose leader's number is kept in a file.
FAKE_SLURM = {
  "sbatch": """
import os, re, subprocess, sys
from pathlib import Path
jobs = Path(os.environ["FAKE_SLURM"])
text = Path(sys.argv[1]).read_text()
number = 100 + len(list(jobs.glob("*.sh")))
script = jobs / f"{number}.sh"
script.write_text(text)
array = re.search(r"--array=0-(\\d+)", text)
for task in range(int(array[1]) + 1 if array else 1):
  ids = {"SLURM_JOB_ID": str(number), "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
  if array:
    ids |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(task)}
  quiet = {"stdout": (jobs / "log").open("a"), "stderr": subprocess.STDOUT}
  started = subprocess.Popen(
    ["bash", str(script)], env=os.environ | ids, start_new_session=True, **quiet)
  name = f"{number}_{task}" if array else str(number)
  (jobs / f"{name}.pid").write_text(str(started.pid))
print(f"Submitted batch job {number}")
""",
  "srun": """
import os, sys
command = sys.argv[1:]
command = command[command.index(next(a for a in command if "python" in a)):]
os.execvp(command[0], command)
""",
  "sacct": """
import os
from pathlib import Path
print("JobID|State|NodeList")
for path in Path(os.environ["FAKE_SLURM"]).glob("*.pid"):
  try:
    state = Path(f"/proc/{path.read_text()}/stat").read_text().rpartition(")")[2].split()[0]
  except OSError:
    state = "Z"
  print(f"{path.stem}|{'FAILED' if state == 'Z' else 'RUNNING'}|here")
""",
  # SLURM signals every process of the job's steps, not the shell.
  "scancel": """
import os, signal, sys
from pathlib import Path
for path in Path(os.environ["FAKE_SLURM"]).glob("*.pid"):
  if any(path.stem == a or path.stem.startswith(a + "_") for a in sys.argv[1:]):
    leader = int(path.read_text())
    try:
      children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
      for pid in map(int, children):
        os.kill(pid, signal.SIGTERM)
    except OSError:
      pass
""",
}


def main(launcher: str, workers: str, root: str) -> int:
  """Trains both runs; returns the exit code."""
  import importlib

  from rich.console import Console

  from cnnlab.lab.plan import RunSpec, run_state

  specs = []
  for seed, label in enumerate(LABELS):
    directory = Path(root) / label / f"seed{seed}"
    spec = RunSpec(
      f"{label}/seed{seed}", label, seed, str(directory), PAGE, OVERRIDES | {"seed": seed}
    )
    specs.append(dataclasses.replace(spec, state=run_state(directory)))
  run_sweep: Callable = importlib.import_module(f"cnnlab.launch.{launcher}").run_sweep
  options = {"slurm": {"settings": {"requeues": "3"}}, "ray": {}, "local": {}}[launcher]
  chosen = {"workers": int(workers), "console": Console(width=200), "logs": Path(root) / "logs"}
  result = run_sweep(specs, **chosen, **options)
  return result.exit_code


if __name__ == "__main__":
  try:
    sys.exit(main(*sys.argv[1:]))
  except KeyboardInterrupt:  # as in cnnlab.cli.main
    print("interrupted")
    sys.exit(130)
