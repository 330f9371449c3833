"""Whether images of the size that is asked for fit into memory, told before any is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from cnnlab import capacity
from cnnlab.data.images import Size
from cnnlab.data.settings import DataSettings


def require_room(
  settings: DataSettings, counts: Sequence[int], batches: Sequence[int], size: Size, placement: str
) -> None:
  """Raises ConfigError where the stored images that are in memory at once would not fit.

  Args:
    settings: the data section.
    counts: examples of the training and the evaluation split.
    batches: examples in a batch of each, on this host.
    size: (height, width) of stored images.
    placement: 'device' holds both splits, 'stream' a batch of each.
  """
  image = size[0] * size[1] * (settings.channels or 1)
  held = counts
  keys = ["data.resize" if settings.resize else "data.image_size"]
  if placement == "stream":
    held = [min(pair) for pair in zip(counts, batches, strict=True)]
    keys += ["batch_size"]
  elif settings.device_limit_mb * 2**20 >= max(counts) * image:
    keys += ["data.device_limit_mb"]
  else:
    keys += ["data.placement"]
  needs = {f"{sum(held)} images of {size[0]}x{size[1]} pixels": sum(held) * image}
  capacity.require(needs, keys, capacity.machine_memory())
