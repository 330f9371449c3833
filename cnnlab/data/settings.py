"""The keys of the config's `data` section, typed; `cnnlab/defaults.py` explains each."""

from __future__ import annotations

import dataclasses
from typing import Literal

Side = int | tuple[int, int]


@dataclasses.dataclass(frozen=True)
class DataSettings:
  """Which data set, how its images are fitted and augmented, and where they are kept."""

  name: str = "digits"
  dir: str = ""
  train_split: str = ""
  eval_split: str = ""
  eval_fraction: float = 0.2
  train_examples: int = 0
  eval_examples: int = 0
  image_size: Side = 0
  resize: Side = 0
  channels: int = 0
  centering: Literal["channel", "image", "symmetric", "none"] = "channel"
  scale: Literal["std", "unit"] = "std"
  crop_padding: int = 0
  pad_mode: str = "constant"
  flip: bool = False
  transforms: tuple[str, ...] = ()
  mix: tuple[str, ...] = ()
  eval_crops: str = "center"
  placement: Literal["auto", "device", "stream"] = "auto"
  device_limit_mb: int = 2048
  workers: int = 2
  max_bad_images: int = 0
