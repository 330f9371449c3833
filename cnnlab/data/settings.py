"""The keys of the config's `data` section, typed; `cnnlab/defaults.py` explains each."""

from __future__ import annotations

import dataclasses
import os
from typing import Annotated, Literal, TypeAlias

from cnnlab.annotations import Between, Fraction, NotEmpty, Whole

Pixels: TypeAlias = Annotated[int, Between(1, 10_000)]
Side: TypeAlias = Annotated[int, Between(0, 10_000)] | tuple[Pixels, Pixels]
EvalCrops: TypeAlias = Literal[
  "center", "whole", "dense", "ten", "grid2", "grid3", "grid4", "grid5"
]
# More processes than this only take memory from each other.
MOST_WORKERS = max(64, 8 * (os.cpu_count() or 1))


@dataclasses.dataclass(frozen=True)
class DataSettings:
  """Which data set, how its images are fitted and augmented, and where they are kept."""

  name: str = "digits"
  dir: str = ""
  train_split: str = ""
  eval_split: str = ""
  eval_fraction: Annotated[float, Between(0, 1, over=True, below=True)] = 0.2
  train_examples: Whole = 0
  train_examples_by: Literal["order", "seed"] = "order"
  eval_examples: Whole = 0
  validation: Annotated[float, Between(0, 1, below=True)] = 0.0
  images_per_class: Whole = 0
  image_size: Side = 0
  resize: Side = 0
  channels: Literal[0, 1, 3] = 0
  centering: Literal["channel", "image", "symmetric", "none"] = "channel"
  scale: Literal["std", "unit"] = "std"
  crop_padding: Whole = 0
  pad_mode: Literal["constant", "reflect"] = "constant"
  flip: bool = False
  min_visibility: Fraction = 0.0
  proposals: Annotated[int, Between(0, 10_000)] = 0
  transforms: tuple[str, ...] = ()
  mix: tuple[str, ...] = ()
  eval_crops: EvalCrops = "center"
  eval_scales: Annotated[tuple[Annotated[float, Between(0.1, 10)], ...], NotEmpty()] = (1.0,)
  placement: Literal["auto", "device", "stream"] = "auto"
  device_limit_mb: Whole = 2048
  workers: Annotated[int, Between(0, MOST_WORKERS)] = 2
  max_bad_images: Whole = 0
