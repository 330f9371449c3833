"""Estimates what a sweep will cost before it starts: multiply-adds, and time at a stated rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cnnlab.lab import wording
from cnnlab.lab.plan import RunSpec
from cnnlab.lab.wiring import Examined
from cnnlab.runs.directory import read_json
from cnnlab.runs.loading import Run, find_runs

TRAINING_FACTOR = 3  # a training step costs about three forward passes: the gradients cost two more
# Multiply-adds per second in training steps of small nets, float32. Measured: a ResNet-20 trains at
# 210 to 310 images/s on two cores. Accelerators differ by far more than a factor of two.
ASSUMED_RATES = {"CPU core": 15e9, "GPU": 2e12}


class CostEstimate(NamedTuple):
  """The cost of the runs that a sweep still has to train.

  Attributes:
    runs: number of runs.
    multiply_adds: total over these runs, forward and backward.
    rate: multiply-adds per second of one worker.
    source: where the rate comes from.
    workers: number of runs trained at the same time.
  """

  runs: int
  multiply_adds: float
  rate: float
  source: str
  workers: int

  @property
  def seconds(self) -> float:
    """Wall-clock time without evaluations, compilation and waiting."""
    return self.multiply_adds / self.rate / self.workers

  def __str__(self) -> str:
    at_a_time = f"{self.workers} run{'s' * (self.workers > 1)} at a time"
    return (
      f"cost: {wording.count(self.multiply_adds)} multiply-adds for {self.runs} runs "
      f"({TRAINING_FACTOR} x forward pass x images), about {wording.duration(self.seconds)} with "
      f"{at_a_time} at {wording.count(self.rate)}/s each ({self.source}), without evaluations"
    )


def estimate_cost(
  specs: Sequence[RunSpec], examined: Sequence[Examined], root: Path, workers: int, device: str
) -> CostEstimate:
  """Returns the cost of the runs of a plan that are not finished.

  Args:
    specs: the plan.
    examined: what its variants would train; one with an error counts as zero.
    root: the sweep's directory; if runs in it have been timed, their median rate is used.
    workers: number of runs trained at the same time.
    device: the device of a worker, a key of `ASSUMED_RATES`.
  """
  per_run = {e.label: TRAINING_FACTOR * e.multiply_adds * e.images for e in examined}
  todo = [spec for spec in specs if spec.to_do]
  rates = _measured_rates(root)
  if rates:
    rate, source = float(pd.Series(rates).median()), f"measured in {len(rates)} runs of this sweep"
  else:
    rate, source = ASSUMED_RATES[device], f"assumed for a {device}"
  total = float(sum(per_run.get(spec.label, 0) for spec in todo))
  return CostEstimate(len(todo), total, rate, source, max(1, min(workers, len(todo))))


def _measured_rates(root: Path) -> list[float]:
  rates = []
  for directory in find_runs(root) if root.is_dir() else []:
    timing = Run(directory).timing
    if "images_per_second" not in timing or not (directory / "config.json").is_file():
      continue
    cost = read_json(directory / "config.json").get("derived", {}).get("multiply_adds")
    if cost:
      rates.append(TRAINING_FACTOR * cost * float(timing["images_per_second"].median()))
  return rates
