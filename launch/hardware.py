"""How the workers of one machine share its cores and GPUs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "jax_rocm60_plugin")


@dataclass(frozen=True)
class Share:
  """What one worker may use.

  Attributes:
    cores: the CPU cores it is bound to; XLA sizes its thread pools by them.
    environment: variables that are set before JAX is imported.
  """

  cores: tuple[int, ...]
  environment: Mapping[str, str] = field(default_factory=dict)

  def claim(self) -> None:
    """Binds this process to its share; to be called before JAX is imported."""
    if self.cores and hasattr(os, "sched_setaffinity"):
      os.sched_setaffinity(0, self.cores)
    os.environ.update(self.environment)


def usable_cores() -> list[int]:
  """Returns the numbers of the CPU cores that this process may run on."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def usable_gpus() -> list[str]:
  """Returns the GPUs that JAX would find, by the names CUDA_VISIBLE_DEVICES takes; no JAX is started."""
  wanted = os.environ.get("JAX_PLATFORMS", "")
  if wanted and not any(name in wanted for name in ("cuda", "gpu", "rocm")):
    return []
  if not any(importlib.util.find_spec(name) for name in _GPU_PLUGINS):
    return []
  visible = os.environ.get("CUDA_VISIBLE_DEVICES")
  if visible is not None:
    return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
  if shutil.which("nvidia-smi") is None:
    return []
  query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
  listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
  return listed.stdout.split() if listed.returncode == 0 else []


def shares(
  workers: int | None,
  runs: int,
  cores: Sequence[int] | None = None,
  gpus: Sequence[str] | None = None,
) -> list[Share]:
  """Returns a share of the machine for each worker.

  Without GPUs a worker a core: two runs with a core each train 8 to 13 % more images in a second
  than one run with two cores (docs/speed.md). With GPUs a
  worker a GPU; more workers than GPUs share them, and each takes its part of the memory.
  All get as many cores: the last digits of a result depend on their number, and which worker
  trains a run is chance.

  Args:
    workers: how many; None for the default above.
    runs: how many there are to do: more workers than that are not made.
    cores, gpus: what is there; None finds out.
  """
  cores = usable_cores() if cores is None else list(cores)
  gpus = usable_gpus() if gpus is None else list(gpus)
  count = max(1, min(workers or len(gpus) or len(cores), runs))
  parts = []
  each = max(1, len(cores) // count)
  for index in range(count):
    first = index * each % len(cores)
    own = cores[first : first + each]
    environment = {"OMP_NUM_THREADS": str(len(own)), "OPENBLAS_NUM_THREADS": str(len(own))}
    if gpus:
      environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
      sharing = -(-count // len(gpus))
      if sharing > 1:
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / sharing:.3f}"
    parts.append(Share(tuple(own), environment))
  return parts
