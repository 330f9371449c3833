"""Generated images in place of a data set that is missing, to estimate what a sweep on it would cost."""

from __future__ import annotations

import dataclasses

import numpy as np

from cnnlab.data import from_arrays, register_source
from cnnlab.data.settings import DataSettings
from cnnlab.data.sources import Source
from cnnlab.lab.plan import RunSpec, resolve

NAME = "stand_in"
_CLASSES = 10


def stand_in(spec: RunSpec) -> RunSpec | None:
  """Returns a run on as many generated images of the size that its config asks for.

  None where the config leaves size or number to the data set, or is for no classifier. There are as
  many images to evaluate as to train on where the config leaves their number open.
  """
  config = resolve(spec)
  data = config.data
  if config.task.name != "classification" or not (data.image_size and data.train_examples):
    return None
  changes = {"data.name": NAME, "imports": (*config.imports, __name__)}
  return dataclasses.replace(spec, overrides={**spec.overrides, **changes})


def _open(rest: str, settings: DataSettings) -> tuple[Source, Source]:
  size = settings.resize or settings.image_size
  height, width = (size, size) if isinstance(size, int) else size
  shape = (height, width, settings.channels or 3)
  numbers = np.random.default_rng(0)

  def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    images = numbers.integers(256, size=(count, *shape), dtype=np.uint8)
    return images, np.arange(count) % _CLASSES

  train = images_and_labels(settings.train_examples)
  made = from_arrays(*train, *images_and_labels(settings.eval_examples or settings.train_examples))
  assert isinstance(made, tuple)
  return made


register_source(NAME, _open)
