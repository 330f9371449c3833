"""The loader, the training step and both together, timed for `cnnlab bench --input`.

Each is timed as the training loop runs it, one after the other in each of several rounds, so that
other work on the machine slows all of them down. Before the loader is timed, the batches that its
workers hold ready are used up; before the step and both, the workers get time to fill their buffers
again.

On a CPU, loader and step share the cores. If each alone keeps all cores busy, both together reach
1 / (1 / loader + 1 / step) images per second at most.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.table import Table

from cnnlab import native
from cnnlab.bench.process import run_program
from cnnlab.bench.pytorch_input import HELD, Job, summary, time_batches
from cnnlab.config import apply_overrides, load_page
from cnnlab.data.folder import FolderSource
from cnnlab.data.sources import Source, Subset
from cnnlab.data.stream import StreamSplit
from cnnlab.data.tfds import TfdsSource
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.parallel import steps_in_flight
from cnnlab.train.setup import Setup, prepare
from cnnlab.types import Json

PLACES = ("folder", "tfds")


def usable_cores() -> int:
  """Returns how many cores this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def input_page(name: str) -> ConfigDict:
  """Returns the config page of that name, or a page that loads the data set of that name.

  Args:
    name: `PAGE.py[:FORM]`, `folder:<path>` or `tfds:<name>`. For the latter two, images are padded
      by 4 pixels, cropped at random and flipped.

  Raises:
    ConfigError: there is no such page.
  """
  if name.partition(":")[0] not in PLACES:
    return load_page(name)
  config = default_config()
  config.data.name = name
  config.data.crop_padding = 4
  config.data.flip = True
  return config


def input_config(page: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
  """Returns the page with overrides, for streamed data that all usable cores decode.

  An override of `data.workers` sets another number of processes.

  Raises:
    ConfigError: an override that the page does not take, or another placement.
  """
  forced: dict[str, Any] = {"data.placement": "stream"}
  if "data.workers" not in overrides:
    forced["data.workers"] = usable_cores()
  if overrides.get("data.placement", "stream") != "stream":
    raise ConfigError(
      f"config key 'data.placement' is {overrides['data.placement']!r}; --input times 'stream'"
    )
  config = apply_overrides(page, {**overrides, **forced})
  if config.data.workers < 0:
    raise ConfigError(f"config key 'data.workers' is {config.data.workers}; allowed: 0 and more")
  return config


def bench_input(
  config: ConfigDict, asked: Iterable[str] = (), seconds: float = 3.0, repeats: int = 5
) -> Json:
  """Times loader, step, both, and PyTorch's DataLoader on the same files.

  Args:
    config: of a run whose data are streamed.
    asked: the dotted keys that were overridden.
    seconds: about how long each part of a round takes.
    repeats: how many rounds.

  Returns:
    `loader`, `step`, `both` and `pytorch`, each with `images_per_s` and `batch_ms` (median, min and
    max of the rounds); `pytorch` may have `error` instead, and `loader_over_pytorch` is None then.
    `both_share` is the median over the rounds of both over the smaller of the two. `shared_limit`
    is the most that it can be where loader and step each keep all shared cores busy. `cores_used`
    is how many cores the loader keeps busy.

  Raises:
    ConfigError, DataError, ShapeError: as `cnnlab.train.setup.prepare`, and for bad arguments.
  """
  if repeats < 1:
    raise ConfigError(f"--repeats is {repeats}; allowed: 1 and more")
  enable_compile_cache()
  setup = prepare(config, asked)
  try:
    rounds = _Rounds(setup, config.data.workers)
    times = [rounds.measure(seconds) for _ in range(repeats)]
  finally:
    setup.data.close()
  loader, step, both = np.array(times).T
  batch_size = config.batch_size
  found: Json = {
    "data": config.data.name,
    "model": config.model.name,
    "batch_size": batch_size,
    "image_size": list(setup.data.image_shape[:2]),
    "stored_size": list(setup.data.preprocess.stored_size),
    "dtype": config.dtype,
    "workers": config.data.workers,
    "cores": usable_cores(),
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "first_batch_s": round(rounds.first_batch_s, 2),
    "cores_used": rounds.cores_used(),
    "loader": summary(loader, batch_size),
    "step": summary(step, batch_size),
    "both": summary(both, batch_size),
    "both_share": round(float(np.median(np.maximum(loader, step) / both)), 3),
    "shared_limit": round(float(np.median(np.maximum(loader, step) / (loader + step))), 3),
    "convolutions": native.describe(),
    "jax": jax.__version__,
  }
  pytorch = _pytorch(setup, config, seconds, repeats)
  ratio = None
  if "images_per_s" in pytorch:
    ratio = round(found["loader"]["images_per_s"] / pytorch["images_per_s"], 2)
  return {**found, "pytorch": pytorch, "loader_over_pytorch": ratio}


class _Rounds:
  """Measures the loader, the step and both, again and again."""

  def __init__(self, setup: Setup, workers: int):
    self.parallel, self.key = setup.parallel, setup.parallel.put(setup.key)
    self.held = HELD * workers
    started = time.perf_counter()
    self.batches = setup.data.train.train_batches(0)
    first = next(self.batches)
    self.first_batch_s = time.perf_counter() - started
    self.batch = self.parallel.put_batch(_synthetic(first, setup))
    self.state = self.parallel.init(setup.program)({}, self.batch, self.key)
    self.step_fn = self.parallel.train(setup.program)
    self.running: deque[jax.Array] = deque()
    self.busy: list[float] = []
    self._step(self.batch)
    self._finish()

  def measure(self, seconds: float) -> tuple[float, float, float]:
    """Returns the seconds of a batch in the loader, in the step, and in both."""
    self._drain()
    before, started = _cpu_seconds(), time.perf_counter()
    loader = time_batches(self._load, seconds, self._finish)
    self.busy.append((_cpu_seconds() - before) / (time.perf_counter() - started))
    filling = self._drain()  # the workers need as long to fill their buffers again
    time_batches(self._step_alone, filling, self._finish)
    step = time_batches(self._step_alone, seconds, self._finish)
    filling = self._drain()
    time_batches(self._both, filling, self._finish)
    both = time_batches(self._both, seconds, self._finish)
    return loader, step, both

  def cores_used(self) -> float | None:
    """Returns the median number of cores that the loader kept busy; None where it is unknown."""
    median = float(np.median(self.busy))
    return round(median, 2) if np.isfinite(median) else None

  def _drain(self) -> float:
    """Takes all batches that the workers hold; returns the seconds."""
    started = time.perf_counter()
    for _ in range(self.held):
      next(self.batches)
    return time.perf_counter() - started

  def _load(self) -> None:
    jax.block_until_ready(self.parallel.put_batch(next(self.batches)))

  def _step_alone(self) -> None:
    self._step(self.batch)

  def _both(self) -> None:
    self._step(self.parallel.put_batch(next(self.batches)))

  def _step(self, batch: Any) -> None:
    self.state, loss = self.step_fn(self.state, {}, batch, self.key)
    self.running.append(loss)
    if len(self.running) > steps_in_flight():  # as in the training loop
      self.running.popleft().block_until_ready()

  def _finish(self) -> None:
    jax.block_until_ready(list(self.running))
    self.running.clear()


def _synthetic(batch: Mapping[str, np.ndarray], setup: Setup) -> dict[str, np.ndarray]:
  """Returns a batch of the same shapes whose images are noise."""
  rng = np.random.default_rng(0)
  features = setup.data.features
  return {
    name: rng.integers(0, 256, array.shape, np.uint8)
    if name in features and features[name].kind == "image"
    else np.array(array)
    for name, array in batch.items()
  }


def _cpu_seconds() -> float:
  """Returns the processor time of this process and its workers so far; NaN without /proc."""
  total = sum(os.times()[:2])
  try:
    for worker in multiprocessing.active_children():
      fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
      total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
  except (OSError, ValueError):
    return float("nan")
  return total


def _pytorch(setup: Setup, config: ConfigDict, seconds: float, repeats: int) -> Json:
  """Returns the DataLoader's result, or {"error": why there is none}."""
  assert isinstance(setup.data.train, StreamSplit)
  files = _files(setup.data.train.source)
  if files is None:
    return {"error": f"the DataLoader reads {' and '.join(PLACES)} sets, not {config.data.name}"}
  job = Job(
    **files,
    stored_size=setup.data.preprocess.stored_size,
    image_size=setup.data.image_shape[:2],
    channels=setup.data.image_shape[2],
    crop_padding=config.data.crop_padding,
    flip=config.data.flip,
    batch_size=config.batch_size,
    workers=config.data.workers,
    seconds=seconds,
    repeats=repeats,
  )
  return run_program(
    ["-m", "cnnlab.bench.pytorch_input"], stdin=json.dumps(dataclasses.asdict(job))
  )


def _files(source: Source) -> Json | None:
  """Returns the arguments of `Job` that describe a source; None if PyTorch cannot read it."""
  indices: np.ndarray | None = None
  while isinstance(source, Subset):
    indices = source.indices if indices is None else source.indices[indices]
    source = source.source
  chosen = [] if indices is None else indices.tolist()
  if isinstance(source, TfdsSource):
    return {"directory": source.directory, "split": source.split, "indices": chosen}
  if isinstance(source, FolderSource):
    every = chosen or range(len(source))
    return {
      "files": [os.path.abspath(os.path.join(source.root, source.files[i])) for i in every],
      "labels": [int(source.targets[i]) for i in every],
    }
  return None


def input_table(result: Json) -> Table:
  """Returns the table of a result of `bench_input`; its caption explains it."""
  height, width = result["image_size"]
  used, cores = result["cores_used"], result["cores"]
  caption = (
    f"{result['devices']}, {cores} usable cores; jax {result['jax']}; convolutions of cnnlab: "
    f"{result['convolutions']}. Images/s: median of the rounds (lowest to highest). The loader has "
    f"{result['workers']} workers"
    + (f" and keeps {used} cores busy" if used is not None else "")
    + f"; its first batch takes {result['first_batch_s']} s. Both reach {result['both_share']:.2f} "
    "of the smaller of the two; where they share cores that each keeps busy alone, "
    f"{result['shared_limit']:.2f} is the limit."
  )
  title = f"{result['data']}, {result['model']}, batch {result['batch_size']}, {height}x{width}"
  table = Table(title=title, caption=caption)
  table.add_column("what")
  table.add_column("images/s", justify="right")
  rows = {
    "loader": "loader alone",
    "step": "training step alone",
    "both": "both together",
    "pytorch": "PyTorch's DataLoader",
  }
  for key, what in rows.items():
    table.add_row(what, _speed(result[key], result["batch_size"]))
  return table


def _speed(found: Json, batch_size: int) -> str:
  if "error" in found:
    return str(found["error"])
  slowest, fastest = (1e3 * batch_size / found["batch_ms"][name] for name in ("max", "min"))
  return f"{found['images_per_s']:.4g} ({slowest:.4g} to {fastest:.4g})"
