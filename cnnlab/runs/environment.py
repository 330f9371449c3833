"""The environment of a run: versions, devices, git commit, command line."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

from cnnlab.errors import RunError
from cnnlab.runs.files import present, read_json, write_json
from cnnlab.types import Json

log = logging.getLogger(__name__)

PACKAGES = (
  "cnnlab", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy",
  "grain", "onednn-cpu-gomp", "tensorflow-datasets", "array-record", "pillow", "opencv-python-headless", "scikit-learn",
)  # fmt: skip


def describe_environment() -> Json:
  """Returns the content of environment.json; starts JAX to name the devices."""
  import jax

  from cnnlab import native

  devices = jax.devices()
  return {
    "python": platform.python_version(),
    "platform": platform.platform(),
    "cpu_count": os.cpu_count(),
    "cpu_model": cpu_model(),
    "packages": {name: version for name in PACKAGES if (version := _version(name))},
    "devices": {
      "platform": devices[0].platform,
      "kind": devices[0].device_kind,
      "count": len(devices),
      "processes": jax.process_count(),
    },
    "convolutions": native.describe(),
    "git": git_state(),
    "command": sys.argv,
  }


def record_environment(directory: Path) -> None:
  """Writes environment.json; that of an earlier session which differs is kept under `earlier`.

  Other devices than before are told: results then differ in their last digits.

  Raises:
    RunError: the file cannot be written.
  """
  path = directory / "environment.json"
  new, old = describe_environment(), _previous(path)
  earlier = old.pop("earlier", [])
  if old and old != new:
    earlier = [*earlier, old]
    if old.get("devices") != new["devices"]:
      log.warning(
        "the run began on %s and goes on on %s: it will not be the same in its last digits",
        _words(old.get("devices")),
        _words(new["devices"]),
      )
  write_json(path, new | ({"earlier": earlier} if earlier else {}))


def _previous(path: Path) -> Json:
  """Returns the environment of the session before this one; {} if there was none."""
  if not present(path):
    return {}
  try:
    old = read_json(path)
  except RunError as error:
    log.warning("%s; it is written anew, without the environments of earlier sessions", error)
    return {}
  if not isinstance(old.get("earlier", []), list):
    log.warning("%s: 'earlier' is no list; it is left out", path)
    del old["earlier"]
  return old


def _words(devices: object) -> str:
  if not isinstance(devices, dict):
    return "unknown devices"
  return f"{devices.get('count')} {devices.get('kind')} ({devices.get('platform')})"


def cpu_model() -> str:
  """Returns the name of this machine's processor; empty if it is unknown."""
  try:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
  except OSError:
    return platform.processor()
  names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
  return names[0].strip() if names else platform.processor()


def _version(name: str) -> str | None:
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def git_state() -> Json:
  """Returns the commit of the code and whether it had uncommitted changes; None outside git."""
  root = Path(__file__).resolve().parents[2]

  def git(*arguments: str) -> str | None:
    try:
      done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
      )
    except (OSError, subprocess.TimeoutExpired):
      return None
    return done.stdout.strip() if done.returncode == 0 else None

  if not (root / ".git").exists():
    return {"commit": None, "dirty": None}
  changes = git("status", "--porcelain", "--untracked-files=no")
  return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}
