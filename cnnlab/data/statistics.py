"""Mean and standard deviation of the training images, and the centering made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnlab.errors import DataError, unknown

CENTERINGS = ("channel", "image", "symmetric", "none")
SCALES = ("std", "unit")

_CHUNK = 4096


def image_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
  """Returns {'mean_image': float64 [h, w, c], 'std': float64 [c]} of uint8 [n, h, w, c].

  `std` is that of each channel about the channel's mean, over all pixels. Sums are of integers,
  so the result is exact and independent of chunking.
  """
  total = np.zeros(images.shape[1:], np.int64)
  counts = np.zeros((images.shape[3], 256), np.int64)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start : start + _CHUNK]
    total += chunk.sum(axis=0, dtype=np.int64)
    for channel in range(len(counts)):
      counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
  values = np.arange(256)
  share = counts / counts.sum(axis=1, keepdims=True)
  mean = share @ values
  variance = (share * (values - mean[:, None]) ** 2).sum(axis=1)
  return {"mean_image": total / len(images), "std": np.sqrt(variance)}


def label_counts(labels: np.ndarray, classes: int) -> np.ndarray:
  """Returns how often each class occurs in each example, int64 [n, classes].

  Args:
    labels: of classes [n], or label maps [n, height, width]; what is no class is not counted.
    classes: number of them.
  """
  rows = labels.reshape(len(labels), -1)
  return np.stack([np.bincount(row, minlength=classes)[:classes] for row in rows])


def centering_arrays(
  centering: str,
  scale: str,
  statistics: Callable[[], dict[str, np.ndarray]],
  channels: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (mean, scale), float32, such that the network's input is (image - mean) / scale.

  Args:
    centering: 'channel' (a mean for each channel, as VGG), 'image' (the mean image, as AlexNet),
      'symmetric' (to [-1, 1]) or 'none' (to [0, 1]).
    scale: 'std' (divide by the channel's standard deviation) or 'unit' (by 255), for 'channel' and
      'image', which share the same divisor, so that they differ in their centering only.
    statistics: computes `image_statistics` of the training split; called for those two alone.
    channels: of the images.

  Raises:
    DataError: an unknown centering or scale.
  """
  if centering not in CENTERINGS:
    raise DataError(unknown("data.centering", centering, CENTERINGS))
  if centering == "symmetric":
    return np.full(channels, 127.5, np.float32), np.full(channels, 127.5, np.float32)
  if centering == "none":
    return np.zeros(channels, np.float32), np.full(channels, 255, np.float32)
  if scale not in SCALES:
    raise DataError(unknown("data.scale", scale, SCALES))
  found = statistics()
  mean = found["mean_image"]
  if centering == "channel":
    mean = mean.mean(axis=(0, 1))
  # A channel that never varies would be divided by zero.
  std = np.where(found["std"] > 0, found["std"], 255)
  divisor = std if scale == "std" else np.full(channels, 255.0)
  return mean.astype(np.float32), divisor.astype(np.float32)
