"""How fast the real training step runs: synthetic images, warm-up first, medians of several repeats."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from cnnlab import native
from cnnlab.bench.timing import peak_memory, repeat, speed
from cnnlab.data import Preprocess
from cnnlab.errors import ConfigError, unknown
from cnnlab.tasks import Classification, Task
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.optim import Sgd, create_optimizer
from cnnlab.train.parallel import Parallel, steps_in_flight
from cnnlab.train.settings import DTYPES
from cnnlab.train.setup import measure_model
from cnnlab.train.step import Program


@dataclasses.dataclass(frozen=True)
class BenchSpec:
  """What is timed.

  Attributes:
    model: name in the registry.
    options: of the model.
    image_size: side of the square images in pixels.
    channels: of the images.
    batch_size: over all devices.
    num_classes: outputs.
    dtype: of the activations.
    parallel: 'jit' or 'pmap'.
    seconds: about how long each repeat runs.
    repeats: how many.
  """

  model: str
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  image_size: int = 32
  channels: int = 3
  batch_size: int = 128
  num_classes: int = 10
  dtype: str = "float32"
  parallel: str = "jit"
  seconds: float = 3.0
  repeats: int = 5

  def __post_init__(self) -> None:
    for name in ("image_size", "channels", "batch_size", "num_classes", "repeats"):
      if getattr(self, name) < 1:
        raise ConfigError(f"--{name} is {getattr(self, name)}; allowed: 1 and more")
    if self.dtype not in DTYPES:
      raise ConfigError(unknown("value of --dtype", self.dtype, DTYPES))


def bench(spec: BenchSpec) -> dict[str, Any]:
  """Times the training step: forward, backward, SGD with momentum, metrics.

  Returns:
    `model`, `batch_size`, `image_size`, `dtype`, `devices`, `compile_s`, `step_ms` (median,
    min and max of the repeats' means), `images_per_s` (of the median), `gmacs_per_image` and
    `gflops_per_image` (forward pass; a multiply-add is 2 FLOPs), `gbytes_per_step` (XLA's estimate
    of what is read and written), `peak_memory_mb`, `parameters`, versions.

  Raises:
    ConfigError, ShapeError: unknown names, or images too small for the network.
  """
  enable_compile_cache()
  shape = (spec.image_size, spec.image_size, spec.channels)
  task = Classification(tuple(str(index) for index in range(spec.num_classes)))
  model = task.network({"name": spec.model, **spec.options}, spec.dtype)
  parameters, macs = measure_model(model, shape)
  parallel = Parallel(spec.parallel, spec.batch_size)
  program = _program(spec, task, model, shape)
  batch = parallel.put_batch(_synthetic_batch(spec, shape))
  key = parallel.put(jax.random.key(0))
  started = time.perf_counter()
  state = parallel.init(program)({}, batch, key)
  step = parallel.train(program).lower(state, {}, batch, key).compile()
  state, loss = step(state, {}, batch, key)
  loss.block_until_ready()
  compile_s = time.perf_counter() - started

  def run(steps: int) -> None:
    nonlocal state
    running: deque[jax.Array] = deque()
    for _ in range(steps):
      state, loss = step(state, {}, batch, key)
      running.append(loss)
      if len(running) > steps_in_flight():  # as in the training loop; more would only take memory
        running.popleft().block_until_ready()
    loss.block_until_ready()

  steps, times = repeat(run, spec.seconds, spec.repeats)
  statistics = jax.local_devices()[0].memory_stats() or {}
  return {
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "dtype": spec.dtype,
    "model": spec.model,
    "batch_size": spec.batch_size,
    "image_size": spec.image_size,
    "compile_s": round(compile_s, 2),
    **speed(times, spec.batch_size),
    "gmacs_per_image": macs / 1e9,
    "gflops_per_image": 2 * macs / 1e9,
    "gbytes_per_step": (step.cost_analysis() or {}).get("bytes accessed", 0.0) / 1e9,
    "peak_memory_mb": round(statistics.get("peak_bytes_in_use", peak_memory()) / 2**20),
    "parameters": parameters,
    "steps": steps * len(times),
    "convolutions": native.describe(),
    "jax": jax.__version__,
  }


def _program(spec: BenchSpec, task: Task, model: nn.Module, shape: tuple[int, int, int]) -> Program:
  size = shape[:2]
  preprocess = Preprocess(
    mean=np.full(shape[2], 127.5, np.float32),
    scale=np.full(shape[2], 63.0, np.float32),
    stored_size=size,
    image_size=size,
  )
  return Program(
    model=model,
    task=task,
    optimizer=create_optimizer(Sgd()),
    schedule=lambda step: 1e-3,
    preprocess=preprocess,
    gather=lambda constants, batch: batch,
    eval_gather=lambda constants, batch: batch,
  )


def _synthetic_batch(spec: BenchSpec, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  return {
    "image": rng.integers(0, 256, (spec.batch_size, *shape), np.uint8),
    "label": rng.integers(0, spec.num_classes, spec.batch_size).astype(np.int32),
  }
