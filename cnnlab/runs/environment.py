"""The environment of a run: versions, devices, git commit, command line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from cnnlab.types import Json

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
