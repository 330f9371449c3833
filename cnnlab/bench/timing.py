"""Repeated timings and their summary; imports neither JAX nor PyTorch."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def repeat(run: Callable[[int], None], seconds: float, repeats: int) -> tuple[int, np.ndarray]:
  """Times `run(steps)`, which ends when the last step has been computed.

  Args:
    run: runs that many steps.
    seconds: about how long each repeat takes.
    repeats: how many; fewer, but two, if a single step takes longer than `seconds`.

  Returns:
    The number of steps in a repeat, and for each repeat the mean seconds of a step [repeats].
  """

  def timed(steps: int) -> float:
    started = time.perf_counter()
    run(steps)
    return (time.perf_counter() - started) / steps

  first = timed(1)
  if first > seconds:
    repeats = min(repeats, max(2, round(repeats * seconds / first)))
    return 1, np.array([timed(1) for _ in range(repeats)])
  steps = max(1, round(seconds / min(first, timed(2))))
  return steps, np.array([timed(steps) for _ in range(repeats)])


def speed(times: np.ndarray, batch_size: int) -> dict[str, Any]:
  """Returns `step_ms`, the median, min and max of the repeats, and `images_per_s` of the median."""
  median = float(np.median(times))
  summary = {"median": median, "min": float(times.min()), "max": float(times.max())}
  return {
    "step_ms": {name: round(value * 1e3, 3) for name, value in summary.items()},
    "images_per_s": round(batch_size / median, 2),
  }


def peak_memory() -> int:
  """Returns the largest resident size of this process so far in bytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
