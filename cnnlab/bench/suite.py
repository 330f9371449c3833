"""The comparison of `cnnlab bench --suite`: cnnlab, XLA's own convolutions and PyTorch, net by net."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence

from cnnlab.bench.process import run_program
from cnnlab.errors import ConfigError, unknown
from cnnlab.types import Json


@dataclasses.dataclass(frozen=True)
class Entry:
  """A net of the suite.

  Attributes:
    model: its name in cnnlab.
    image_size: side of the images in pixels.
    batch_size: on a CPU.
    accelerator_batch_size: on one GPU or TPU.
    num_classes: outputs.
  """

  model: str
  image_size: int
  batch_size: int
  accelerator_batch_size: int
  num_classes: int


SUITE = (
  Entry("resnet20", 32, 128, 1024, 10),
  Entry("all_cnn_c", 32, 128, 1024, 10),
  Entry("resnet50", 224, 16, 256, 1000),
  Entry("vgg16", 224, 8, 128, 1000),
  Entry("densenet121", 224, 8, 256, 1000),
  Entry("resnext50_32x4d", 224, 8, 256, 1000),
  Entry("vit_ti_16", 224, 16, 512, 1000),
)
CNNLAB, XLA, PYTORCH = "cnnlab", "XLA", "PyTorch"


@dataclasses.dataclass(frozen=True)
class Suite:
  """What is compared, and how long it is timed.

  Attributes:
    models: names of `SUITE`; empty for all.
    dtype: of the activations.
    seconds: about how long a repeat runs.
    repeats: how many.
  """

  models: tuple[str, ...] = ()
  dtype: str = "float32"
  seconds: float = 3.0
  repeats: int = 5

  def __post_init__(self) -> None:
    names = [entry.model for entry in SUITE]
    for name in self.models:
      if name not in names:
        raise ConfigError(unknown("model of the suite", name, names))

  def entries(self) -> list[Entry]:
    """Returns the nets that are compared."""
    return [entry for entry in SUITE if not self.models or entry.model in self.models]


def contenders(platform: str) -> tuple[str, ...]:
  """Returns what is compared on this platform; XLA's own convolutions are of interest on a CPU."""
  found = [CNNLAB] + [XLA] * (platform == "cpu")
  return (*found, PYTORCH) if importlib.util.find_spec("torch") else tuple(found)


def run_suite(suite: Suite, platform: str) -> Iterator[Json]:
  """Yields the result of each net and contender as it is measured.

  Each is timed in a process of its own.

  Args:
    suite: what to compare.
    platform: JAX's: 'cpu', 'gpu' or 'tpu'.

  Yields:
    `contender` and what `cnnlab.bench.step.bench` or `cnnlab.bench.pytorch.bench` returns, or
    `error`.
  """
  for entry in suite.entries():
    batch_size = entry.batch_size if platform == "cpu" else entry.accelerator_batch_size
    for contender in contenders(platform):
      known = {"contender": contender, "model": entry.model, "batch_size": batch_size}
      yield known | _measure(contender, suite, entry, batch_size)


def _measure(contender: str, suite: Suite, entry: Entry, batch_size: int) -> Json:
  environment = dict(os.environ)
  options = {
    "image_size": entry.image_size,
    "batch_size": batch_size,
    "dtype": suite.dtype,
    "seconds": suite.seconds,
    "repeats": suite.repeats,
  }
  if contender == PYTORCH:
    command = ["-m", "cnnlab.bench.pytorch", f"--name={entry.model}"]
  else:
    command = ["-m", "cnnlab", "bench", f"--model={entry.model}"]
    options["num_classes"] = entry.num_classes
    if contender == XLA:
      environment["CNNLAB_NATIVE"] = "off"
  flags = [f"--{name}={value}" for name, value in options.items()]
  return run_program([*command, *flags], environment=environment)


def with_shares(results: Iterable[Json], peaks: Json) -> list[Json]:
  """Returns the results with cnnlab's shares of the machine's peaks.

  `flops_share` counts three forward passes for a training step. `bytes_share` is of what XLA
  estimates; it does not see into native calls beyond their operands and results.
  """
  found = []
  for result in results:
    if "gflops_per_image" in result:
      flops = 3 * 1e9 * result["gflops_per_image"] * result["images_per_s"]
      moved = 1e12 * result["gbytes_per_step"] / result["step_ms"]["median"]
      result = result | {
        "flops_share": round(flops / peaks["peak_flops"], 3),
        "bytes_share": round(moved / peaks["peak_bytes"], 3),
      }
    found.append(result)
  return found


def ratios(results: Sequence[Json]) -> dict[str, dict[str, float]]:
  """Returns, for each net, cnnlab's images per second over each other contender's."""
  speeds: dict[str, dict[str, float]] = {}
  for result in results:
    if "images_per_s" in result:
      speeds.setdefault(result["model"], {})[result["contender"]] = result["images_per_s"]
  return {
    model: {name: round(by[CNNLAB] / value, 2) for name, value in by.items() if name != CNNLAB}
    for model, by in speeds.items()
    if CNNLAB in by
  }
