"""A sweep on a SLURM cluster: every run is a job of a submitit job array.

Before its time limit, and when it is preempted, a job has its run saved and is queued again;
the run resumes from there. Runs need cnnlab installed on the nodes and the sweep's root on a
file system that they share with this machine. Ctrl-C cancels the jobs, which save their runs.
A job whose run is finished or trained by another process ends at once, so submitting twice
costs only a place in the queue.

What only a real cluster can show: that SLURM signals before the limit (`--signal`), that the
partition allows `scontrol requeue`, and how long a preempted job is given to save.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from cnnlab.errors import ConfigError, RunError, printable
from cnnlab.lab.execute import EXECUTE_RUN
from cnnlab.lab.plan import RunSpec
from cnnlab.launch import worker
from cnnlab.launch.hardware import usable_cores
from cnnlab.launch.interrupts import held_back
from cnnlab.launch.outcome import Outcome, SweepResult, opened
from cnnlab.launch.remote import Ended, drive
from cnnlab.launch.settings import check_workers, read_settings
from cnnlab.terminal import SafeConsole

# time: limit of a job in minutes. requeues: how often a run may be queued again. signal_delay:
# seconds before the limit at which a run is saved. setup: shell commands run before Python.
# wait=no: submit and return. cluster: 'local' and 'debug' try it all without SLURM.
SETTINGS: dict[str, Any] = {
  "partition": "",
  "account": "",
  "qos": "",
  "constraint": "",
  "time": 240,
  "cpus": 4,
  "gpus": 0,
  "memory_gb": 16,
  "requeues": 20,
  "signal_delay": 120,
  "setup": "",
  "wait": True,
  "cluster": "slurm",
}
LIMITS = {
  "time": (1, 10_000_000),
  "cpus": (1, 100_000),
  "gpus": (0, 100_000),
  "memory_gb": (0, 1_000_000),
  "requeues": (0, 100_000),
  "signal_delay": (0, 10_000_000),
}
_CLUSTERS = ("slurm", "local", "debug")


def check(settings: Mapping[str, str] | None, workers: int | None) -> dict[str, Any]:
  """Returns the settings, each of its type.

  Raises:
    ConfigError: submitit is not installed, an unknown setting, or a value that cannot be used.
    RunError: this machine has no SLURM commands.
  """
  check_workers(workers)
  chosen = read_settings("slurm", settings, SETTINGS, LIMITS)
  if chosen["cluster"] not in _CLUSTERS:
    raise ConfigError(f"option cluster={chosen['cluster']!r}: allowed are {', '.join(_CLUSTERS)}")
  if importlib.util.find_spec("submitit") is None:
    raise ConfigError("the launcher 'slurm' needs submitit: pip install 'cnnlab[slurm]'")
  if chosen["cluster"] == "slurm" and shutil.which("sbatch") is None:
    raise RunError("no SLURM on this machine: the command 'sbatch' is not found")
  return chosen


def run_sweep(
  specs: Sequence[RunSpec],
  execute: str = EXECUTE_RUN,
  *,
  workers: int | None = None,
  console: Console | None = None,
  logs: str | os.PathLike[str] | None = None,
  settings: Mapping[str, str] | None = None,
) -> SweepResult:
  """Executes each pending run as a job, and returns the outcome of each.

  Args:
    specs, execute, console: as of `cnnlab.launch.local.run_sweep`.
    workers: how many jobs run at a time; None for as many as SLURM allows.
    logs: a directory that the nodes share: a log a run, and submitit's files below `slurm`.
    settings: see `SETTINGS`.

  Raises:
    ConfigError: submitit is not installed, an unknown setting, or a value that cannot be used.
    RunError: this machine has no SLURM commands, sbatch refuses the jobs, or the path of the logs
      cannot stand in a script.
  """
  chosen = check(settings, workers)
  import submitit

  console = console or SafeConsole()
  opening = opened(specs, console)
  result, todo = opening
  if not todo:
    return result
  backend = _Jobs(submitit, execute, Path(logs or "slurm-logs").absolute(), chosen, workers)
  if not chosen["wait"]:
    fresh = [spec for spec in todo if spec.to_do]
    names = backend.submit(fresh)
    for spec in todo:
      status = "submitted" if spec.to_do else spec.state
      result.outcomes[spec.name] = Outcome(spec.name, status, names.get(spec.name, ""))
    console.print(f"{len(fresh)} runs submitted; `cnnlab runs --watch` shows their progress")
    return result
  here = {"slurm": None, "local": workers or len(usable_cores()), "debug": 1}[chosen["cluster"]]
  restarts = chosen["requeues"]
  return drive(backend, specs, opening, console, at_once=here, restarts=restarts)


class _Jobs:
  """The runs as jobs: a backend of `cnnlab.launch.remote.drive`."""

  def __init__(
    self,
    submitit: Any,
    execute: str,
    logs: Path,
    settings: Mapping[str, Any],
    workers: int | None,
  ):
    self._execute = execute
    self._logs = logs
    self._failed = submitit.core.utils.UncompletedJobError
    self._refused = submitit.core.utils.FailedSubmissionError
    if printable(str(logs)) != str(logs) or "\n" in str(logs) or "%" in str(logs):
      # In a script a line would end there; in names of files, SLURM replaces what follows '%'.
      raise RunError(
        f"{str(logs)!r} cannot be SLURM's folder of logs: use a --root without line breaks, other "
        "control characters and '%'"
      )
    cluster = settings["cluster"]
    self.title = f"slurm ({cluster})" if cluster != "slurm" else "slurm"
    requeues = {"slurm_max_num_timeout": settings["requeues"]} if cluster == "slurm" else {}
    try:
      self._executor = submitit.AutoExecutor(logs / "slurm", cluster=cluster, **requeues)
    except (RuntimeError, ValueError) as error:
      raise RunError(f"no SLURM on this machine: {error}") from error
    self._executor.update_parameters(**_parameters(settings, logs.parent.name, workers))
    self._jobs: dict[str, Any] = {}

  def submit(self, specs: Sequence[RunSpec]) -> dict[str, str]:
    """Submits runs as one job array; returns the job of each."""
    tasks = []
    for spec in specs:
      log = str(worker.log_file(self._logs, spec.name))
      tasks.append(SupervisedRun(self._execute, spec.to_dict(), log))
    try:
      with self._executor.batch():
        jobs = [self._executor.submit(task) for task in tasks]
    except self._refused as error:
      raise RunError(f"sbatch refused the jobs: {error}") from error
    fresh = dict(zip((spec.name for spec in specs), jobs, strict=True))
    self._jobs |= fresh
    return {name: f"job {job.job_id}" for name, job in fresh.items()}

  def wait(self, seconds: float) -> list[Ended]:
    ended = [name for name, job in self._jobs.items() if job.done()]
    if not ended:
      time.sleep(seconds)
    return [self._ended(name) for name in ended]

  def stop(self, now: bool) -> None:
    for job in self._jobs.values():
      job.cancel(check=False)

  def _ended(self, name: str) -> Ended:
    job = self._jobs.pop(name)
    try:
      outcome = job.result()
      died = outcome["status"] == "died"
      return Ended(name, None, "job", outcome["reason"]) if died else Ended(name, outcome)
    except self._failed as error:
      lines = [line.strip() for line in str(error).splitlines() if line.strip()]
      return Ended(
        name, None, "job", f"state {job.state}, {lines[0] if lines else 'no reason given'}"
      )


def _parameters(settings: Mapping[str, Any], sweep: str, workers: int | None) -> dict[str, Any]:
  """Returns the settings as submitit's AutoExecutor names them."""
  parameters = {
    "name": f"cnnlab-{sweep}",
    "timeout_min": settings["time"],
    "cpus_per_task": settings["cpus"],
    "gpus_per_node": settings["gpus"],
    "mem_gb": settings["memory_gb"],
    "stderr_to_stdout": True,
    "slurm_signal_delay_s": settings["signal_delay"],
    # SLURM itself queues the jobs of preempted and lost nodes again.
    "slurm_additional_parameters": {"requeue": True},
  }
  for name in ("partition", "account", "qos", "constraint"):
    if settings[name]:
      parameters[f"slurm_{name}"] = settings[name]
  if settings["setup"]:
    parameters["slurm_setup"] = [settings["setup"]]
  if workers:
    parameters["slurm_array_parallelism"] = workers
  return parameters


_LATER = (signal.SIGUSR1, signal.SIGUSR2)  # warnings of SLURM's, which submitit handles


class SupervisedRun:
  """A job: trains one run in a process of its own, which it tells to save when the job must end.

  The signals of the cluster come to this process at any moment; the training process gets one
  well-defined interrupt between two steps.

  Args:
    execute: `module:function`.
    spec: `RunSpec.to_dict()`.
    log: the file that takes what the run prints.
  """

  def __init__(self, execute: str, spec: dict[str, Any], log: str):
    self.execute, self.spec, self.log = execute, spec, log
    self._process: Any = None
    self._told = False

  def __call__(self) -> dict[str, Any]:
    """Returns the run's outcome; its status is `died` where the training process did."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    self._told = False
    self._process = context.Process(target=_train, args=(theirs, self.execute, self.spec, self.log))
    with held_back(*_LATER):
      before = self._listen_to_signals()
      self._process.start()
    theirs.close()
    try:
      return ours.recv()
    except (EOFError, OSError):
      self._process.join()
      code = self._process.exitcode
      return {"status": "died", "reason": f"exit code {code}"}
    finally:
      ours.close()
      self._process.join()
      for signum, handler in before.items():
        signal.signal(signum, handler)

  def checkpoint(self) -> Any:
    """Saves the run; returns what submitit queues again."""
    from submitit.helpers import DelayedSubmission

    self._tell()
    self._process.join()
    return DelayedSubmission(SupervisedRun(self.execute, self.spec, self.log))

  def _tell(self) -> None:
    if not self._told and self._process is not None and self._process.is_alive():
      self._told = True  # a second interrupt would end it unsaved
      os.kill(self._process.pid, signal.SIGINT)

  def _listen_to_signals(self) -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
      return {}
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}

    def handle(signum: int, frame: FrameType | None) -> None:
      self._tell()
      previous = before[signal.Signals(signum)]
      if callable(previous) and previous is not signal.default_int_handler:
        previous(signum, frame)

    for name in before:
      signal.signal(name, handle)
    return {int(name): handler for name, handler in before.items()}


def _train(connection: Connection, execute: str, spec: dict[str, Any], log: str) -> None:
  """Runs the training process, which only a SIGINT from its supervisor stops."""
  try:
    worker.leave_terminal()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, *_LATER})
    worker.redirect(log)
    connection.send(worker.execute_once(worker.load(execute), spec, lambda step, total: None))
  except KeyboardInterrupt:
    connection.send({"status": "interrupted", "reason": "stopped before it began"})
  except BrokenPipeError:  # the supervisor is gone; the run's status is in its directory
    return
