"""PyTorch's DataLoader on the same files, for the comparison of `cnnlab bench --input`.

Images are decoded by Pillow, or by TFDS for ArrayRecord, brought to the size that cnnlab stores,
cropped at random and flipped, and collated as uint8: what PyTorch's users do, less the conversion
to floating point, which cnnlab leaves to the device. Examples come in a fresh random order in each
epoch, without a pause between epochs.

Run as a program, since PyTorch's threads would disturb JAX's: it reads a job as JSON from standard
input and prints one line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnlab.bench.pytorch import import_torchvision
from cnnlab.bench.timing import speed

HELD = 6  # batches that a worker of either loader holds ready at most


@dataclasses.dataclass(frozen=True)
class Job:
  """What is loaded, and how long it is timed.

  Attributes:
    files: paths of images; empty for a TFDS set.
    directory: of a prepared TFDS set; empty for files.
    split: of the TFDS set.
    indices: examples of the split; empty for all.
    labels: class of each file.
    stored_size: (height, width) to which images are fitted.
    image_size: (height, width) of the random crop.
    channels: 1 or 3.
    crop_padding: pixels on each side before the crop.
    flip: mirror half of the images.
    batch_size: images in a batch.
    workers: processes that decode; 0 for none.
    seconds: about how long each repeat runs.
    repeats: how many.
  """

  files: Sequence[str] = ()
  directory: str = ""
  split: str = ""
  indices: Sequence[int] = ()
  labels: Sequence[int] = ()
  stored_size: Sequence[int] = (32, 32)
  image_size: Sequence[int] = (32, 32)
  channels: int = 3
  crop_padding: int = 0
  flip: bool = False
  batch_size: int = 128
  workers: int = 0
  seconds: float = 3.0
  repeats: int = 5


def time_batches(run: Callable[[], Any], seconds: float, finish: Callable[[], Any]) -> float:
  """Returns the mean seconds of a batch over at least that many seconds.

  Args:
    run: processes the next batch, or starts to.
    seconds: no batch is started after this time.
    finish: returns when all that was started is done.
  """
  started, count = time.perf_counter(), 0
  while not count or time.perf_counter() - started < seconds:
    run()
    count += 1
  finish()
  return (time.perf_counter() - started) / count


def summary(times: np.ndarray, batch_size: int) -> dict[str, Any]:
  """Returns `images_per_s` of the median, and `batch_ms`: median, min and max of the repeats."""
  found = speed(times, batch_size)
  return {"images_per_s": found["images_per_s"], "batch_ms": found["step_ms"]}


class Examples:
  """A data set for PyTorch: item i is (uint8 [channels, height, width], class)."""

  def __init__(self, job: Job):
    """Initializes the data set; files are opened when items are read."""
    transforms = import_torchvision().transforms
    crops = job.crop_padding or tuple(job.stored_size) != tuple(job.image_size)
    steps = [transforms.RandomCrop(tuple(job.image_size), job.crop_padding)] if crops else []
    steps += [transforms.RandomHorizontalFlip()] if job.flip else []
    self.transform = transforms.Compose([*steps, transforms.PILToTensor()])
    self.job = job
    self.records: Any = None
    if job.directory:
      import tensorflow_datasets as tfds

      builder = tfds.builder_from_directory(job.directory)
      self.records = builder.as_data_source(split=job.split)

  def __len__(self) -> int:
    return len(self.job.files or self.job.indices or self.records)

  def __getitem__(self, index: int) -> tuple[Any, int]:
    return self.__getitems__([index])[0]

  def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
    from PIL import Image

    job = self.job
    if self.records is None:
      found = []
      for index in indices:
        with Image.open(job.files[index]) as image:
          found.append((self._fit(image), job.labels[index]))
      return found
    chosen = [job.indices[index] for index in indices] if job.indices else list(indices)
    return [
      (self._fit(Image.fromarray(np.squeeze(example["image"]))), int(example.get("label", 0)))
      for example in self.records.__getitems__(chosen)
    ]

  def _fit(self, image: Any) -> Any:
    from PIL import Image, ImageOps

    image = image.convert("L" if self.job.channels == 1 else "RGB")
    height, width = self.job.stored_size
    if image.size != (width, height):
      image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
    return self.transform(image)


def bench(job: Job) -> dict[str, Any]:
  """Times the DataLoader; returns `images_per_s`, `batch_ms`, `first_batch_s` and `by`."""
  import torch
  from torch.utils.data import DataLoader, RandomSampler

  cuda = torch.cuda.is_available()
  examples: Any = Examples(job)
  loader = DataLoader(
    examples,
    job.batch_size,
    sampler=RandomSampler(examples, num_samples=2**40),
    num_workers=job.workers,
    pin_memory=cuda,
  )
  started = time.perf_counter()
  batches = iter(loader)

  def load() -> None:
    images, labels = next(batches)
    if cuda:
      images, labels = images.to("cuda", non_blocking=True), labels.to("cuda", non_blocking=True)

  load()
  first_s = time.perf_counter() - started
  finish = torch.cuda.synchronize if cuda else lambda: None
  for _ in range(HELD * job.workers):
    load()
  times = np.array([time_batches(load, job.seconds, finish) for _ in range(job.repeats)])
  return {
    **summary(times, job.batch_size),
    "first_batch_s": round(first_s, 2),
    "by": f"PyTorch {torch.__version__}",
  }


def main() -> None:
  """Prints the result of the job on standard input, or {"error": why not}."""
  job = Job(**json.load(sys.stdin))
  try:
    result = bench(job)
  except ImportError as error:
    result = {"error": str(error)}
  print(json.dumps(result), flush=True)


if __name__ == "__main__":
  main()
