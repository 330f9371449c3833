"""A sweep on a Ray cluster: every run is a task with declared CPUs and GPUs.

With no address, a cluster is started on this machine for the time of the sweep. A run whose
worker or node is lost is scheduled again and resumes from its last checkpoint. The nodes need
cnnlab installed, and the sweep's root on a file system that they share with this machine.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cnnlab.errors import ConfigError, RunError
from cnnlab.lab.execute import EXECUTE_RUN
from cnnlab.lab.plan import RunSpec
from cnnlab.launch.hardware import usable_cores, usable_gpus
from cnnlab.launch.interrupts import interruptible
from cnnlab.launch.outcome import SweepResult, opened
from cnnlab.launch.remote import Ended, drive
from cnnlab.launch.settings import check_workers, read_settings
from cnnlab.launch.worker import execute_once, load, log_file, redirect
from cnnlab.terminal import SafeConsole

# address: of a running cluster ('auto' finds this machine's); '' starts one. gpus: -1 takes one
# where the cluster has any.
SETTINGS: dict[str, Any] = {"address": "", "cpus": 1.0, "gpus": -1.0}
LIMITS = {"cpus": (0.001, 1e6), "gpus": (-1.0, 1e6)}


def check(settings: Mapping[str, str] | None, workers: int | None) -> dict[str, Any]:
  """Returns the settings, each of its type.

  Raises:
    ConfigError: Ray is not installed, an unknown setting, or a value that cannot be used.
  """
  check_workers(workers)
  try:
    import ray  # noqa: F401
  except ImportError as error:
    raise ConfigError("the launcher 'ray' needs Ray: pip install 'cnnlab[ray]'") from error
  return read_settings("ray", settings, SETTINGS, LIMITS)


def run_sweep(
  specs: Sequence[RunSpec],
  execute: str = EXECUTE_RUN,
  *,
  workers: int | None = None,
  console: Console | None = None,
  logs: str | os.PathLike[str] | None = None,
  restarts: int = 2,
  settings: Mapping[str, str] | None = None,
) -> SweepResult:
  """Executes all pending runs on a Ray cluster, and returns the outcome of each.

  Args:
    specs, execute, console, logs, restarts: as of `cnnlab.launch.local.run_sweep`.
    workers: how many runs at a time; None for as many as the cluster has room for.
    settings: `address`, `cpus` and `gpus` of a run, as in `SETTINGS`.

  Raises:
    ConfigError: Ray is not installed, or an unknown setting.
    RunError: there is no cluster at the address, or none of its nodes can hold a run.
  """
  chosen = check(settings, workers)
  import ray

  console = console or SafeConsole()
  opening = opened(specs, console)
  if not opening[1]:
    return opening[0]
  ours = not ray.is_initialized()
  if ours:
    _connect(ray, chosen["address"])
  try:
    backend = _Cluster(ray, execute, logs, chosen)
    return drive(backend, specs, opening, console, at_once=workers, restarts=restarts)
  finally:
    if ours:
      ray.shutdown()


def _connect(ray: Any, address: str) -> None:
  """Joins a cluster, or starts one on this machine.

  Raises:
    RunError: nobody answers at the address, or it runs another version of Ray or Python.
  """
  quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
  os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
  # A task without GPUs must see none, which Ray does only on request.
  os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
  try:
    if address:
      ray.init(address=address, **quiet)
    else:
      sizes = {"num_cpus": len(usable_cores()), "num_gpus": len(usable_gpus())}
      ray.init(address="local", include_dashboard=False, **sizes, **quiet)
  except Exception as error:  # an address that is none fails in many ways
    raise RunError(
      f"no Ray cluster at {address or 'this machine'}: {_first_line(error)}"
    ) from error


class _Cluster:
  """The runs as tasks of a Ray cluster: a backend of `cnnlab.launch.remote.drive`."""

  def __init__(
    self,
    ray: Any,
    execute: str,
    logs: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
  ):
    self._ray = ray
    self._execute = execute
    self._logs = logs
    room = ray.cluster_resources()
    gpus = settings["gpus"] if settings["gpus"] >= 0 else min(1.0, room.get("GPU", 0.0))
    needs = {"CPU": settings["cpus"], "GPU": gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(k, 0.0) >= n for k, n in needs.items()) for node in nodes):
      raise RunError(
        f"a run asks for {settings['cpus']:g} CPUs and {gpus:g} GPUs, and no node of the cluster "
        f"has as many; the cluster has {room.get('CPU', 0):g} and {room.get('GPU', 0):g} in all"
      )
    # Retries are the driver's: it knows of leases.
    options = {"num_cpus": settings["cpus"], "num_gpus": gpus, "max_retries": 0}
    try:
      self._train = ray.remote(**options)(_train)
    except ValueError as error:  # fractions of several GPUs
      raise ConfigError(f"options cpus and gpus of launcher 'ray': {error}") from error
    self._tasks: dict[Any, str] = {}
    count = len(nodes)
    self.title = f"ray, {count} node{'s' if count > 1 else ''}"

  def submit(self, specs: Sequence[RunSpec]) -> None:
    for spec in specs:
      log = self._logs and str(log_file(self._logs, spec.name).absolute())
      train = self._train.options(name=spec.name)
      task = train.remote(self._execute, spec.to_dict(), log, os.getcwd())
      self._tasks[task] = spec.name

  def wait(self, seconds: float) -> list[Ended]:
    tasks = list(self._tasks)
    if not tasks:
      time.sleep(seconds)
      return []
    ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=seconds)
    return [self._ended(task) for task in ready]

  def stop(self, now: bool) -> None:
    for task in self._tasks:
      # Not forced, it is Ctrl-C in the task's process: the training saves and returns.
      self._ray.cancel(task, force=now)

  def _ended(self, task: Any) -> Ended:
    name = self._tasks.pop(task)
    try:
      return Ended(name, self._ray.get(task))
    except self._ray.exceptions.TaskCancelledError:
      return Ended(name, {"status": "interrupted", "reason": "stopped"})
    except self._ray.exceptions.NodeDiedError as error:
      return Ended(name, None, "node", _first_line(error))
    except self._ray.exceptions.RayError as error:
      return Ended(name, None, "worker", _first_line(error))


def _first_line(error: Exception) -> str:
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _train(execute: str, spec: dict[str, Any], log: str | None, folder: str) -> dict[str, Any]:
  """Executes one run; what it prints goes to its log. In a task, on any node.

  Args:
    execute: `module:function`.
    spec: `RunSpec.to_dict()`.
    log: a file, or None.
    folder: the driver's working directory, to which a config page's path may be relative.
  """
  if Path(folder).is_dir():
    os.chdir(folder)
  redirect(log)
  with interruptible():  # by `ray.cancel`, and by Ray when the sweep's process has died
    return execute_once(load(execute), spec, lambda step, total: None)
