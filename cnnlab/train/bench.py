"""How fast the real training step runs: synthetic images, warm-up first, medians of several repeats."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cnnlab.config import TrackedConfig
from cnnlab.data import Preprocess
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.tasks import Classification
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.optim import create_optimiser
from cnnlab.train.parallel import Parallel
from cnnlab.train.setup import build_model, measure_model
from cnnlab.train.step import Recipe


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


def bench(spec: BenchSpec) -> dict[str, Any]:
  """Times the training step: forward, backward, SGD with momentum, metrics.

  Returns:
    `model`, `batch_size`, `image_size`, `dtype`, `devices`, `compile_s`, `step_ms` (median,
    min and max of the repeats' means), `images_per_s` (of the median), `gmacs_per_image` and
    `gflops_per_image` (forward pass; a multiply-add is 2 FLOPs), `parameters`, versions.

  Raises:
    ConfigError, ShapeError: unknown names, or images too small for the network.
  """
  enable_compile_cache()
  shape = (spec.image_size, spec.image_size, spec.channels)
  model = build_model({"name": spec.model, **spec.options}, spec.num_classes, spec.dtype)
  parameters, macs = measure_model(model, shape)
  parallel = Parallel(spec.parallel, spec.batch_size)
  recipe = _recipe(spec, model, shape)
  batch = parallel.put_batch(_synthetic_batch(spec, shape))
  key = parallel.put(jax.random.key(0))
  started = time.perf_counter()
  state = parallel.init(recipe)({}, batch, key)
  step = parallel.train(recipe)
  state, loss = step(state, {}, batch, key)
  loss.block_until_ready()
  compile_s = time.perf_counter() - started

  def run(steps: int) -> float:
    nonlocal state
    started = time.perf_counter()
    for _ in range(steps):
      state, loss = step(state, {}, batch, key)
    loss.block_until_ready()
    return (time.perf_counter() - started) / steps

  steps = max(1, round(spec.seconds / min(run(1), run(2))))
  times = np.array([run(steps) for _ in range(spec.repeats)])
  median = float(np.median(times))
  return {
    "model": spec.model,
    "batch_size": spec.batch_size,
    "image_size": spec.image_size,
    "dtype": spec.dtype,
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "compile_s": round(compile_s, 2),
    "step_ms": {
      "median": round(median * 1e3, 3),
      "min": round(float(times.min()) * 1e3, 3),
      "max": round(float(times.max()) * 1e3, 3),
    },
    "images_per_s": round(spec.batch_size / median, 2),
    "gmacs_per_image": macs / 1e9,
    "gflops_per_image": 2 * macs / 1e9,
    "parameters": parameters,
    "steps": steps * spec.repeats,
    "jax": jax.__version__,
  }


def _recipe(spec: BenchSpec, model: Any, shape: tuple[int, int, int]) -> Recipe:
  size = shape[:2]
  preprocess = Preprocess(
    mean=np.full(shape[2], 127.5, np.float32),
    scale=np.full(shape[2], 63.0, np.float32),
    stored_size=size,
    image_size=size,
  )
  names = tuple(str(index) for index in range(spec.num_classes))
  return Recipe(
    model=model,
    task=Classification(names),
    optimiser=create_optimiser(TrackedConfig(default_config()).optim),
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
