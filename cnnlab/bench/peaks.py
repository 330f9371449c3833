"""What the machine can do, measured: the figures that a step's speed is a share of."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the matrices, large enough to reach the peak
ELEMENTS = {"cpu": 2**26, "gpu": 2**29, "tpu": 2**29}  # of the arrays: far more than any cache


def measure_peaks(dtype: str) -> dict[str, float]:
  """Measures the fastest matrix product and the fastest copy of all local devices together.

  Returns:
    `peak_flops`, multiplications and additions per second of a matrix product in `dtype`, and
    `peak_bytes`, bytes read and written per second by an addition.
  """
  platform, count = jax.default_backend(), jax.local_device_count()
  side = SIDE.get(platform, 2048)
  matrix = jnp.ones((side, side), dtype)
  product = _best(jax.jit(jnp.matmul), matrix, matrix)
  vector = jnp.ones(ELEMENTS.get(platform, 2**26), jnp.float32)
  addition = _best(jax.jit(lambda x: x + 1), vector)
  return {
    "peak_flops": count * 2 * side**3 / product,
    "peak_bytes": count * 2 * vector.nbytes / addition,
  }


def _best(function: Callable[..., Array], *arguments: Array, repeats: int = 7) -> float:
  """Returns the shortest time of a call in seconds."""
  function(*arguments).block_until_ready()
  times = []
  for _ in range(repeats):
    started = time.perf_counter()
    function(*arguments).block_until_ready()
    times.append(time.perf_counter() - started)
  return min(times)
