"""Crops around single pixels of a data set with label maps, `data.name='crops:96:tfds:camvid'`.

Each image gives one square crop, 96 pixels wide here, for each class that it shows, but for `void`. Its
center is a pixel of that class, drawn at random from those whose crop lies within the image; the class
is the label of the crop. That is the question of a sliding window: what is the pixel in the middle?

cnnlab codes --import=cnnlab.experiments.transfer.crops --workdir=runs/keras50 --layer=stage3 \
  --config.data.name=crops:96:tfds:camvid --config.data.dir=DATA_DIR
"""

from __future__ import annotations

import numpy as np

from cnnlab.data import DataSettings, Source, register_source
from cnnlab.data.features import Feature
from cnnlab.data.images import BadImage
from cnnlab.data.sources import ArraySource, image_channels, image_feature
from cnnlab.errors import DataError
from cnnlab.experiments.derived_sets import open_derived

IGNORED = "void"


def open_crops(rest: str, settings: DataSettings) -> tuple[Source, Source]:
  """Returns the training and the evaluation source of crops.

  Raises:
    DataError: what follows `crops:` is not a number of pixels, a colon, and a data set with label maps.
  """
  return open_derived("crops:96:tfds:camvid", rest, settings, _crops)


def _crops(source: Source, side: int, seed: int) -> ArraySource:
  maps = [name for name, feature in source.features.items() if feature.kind == "label_map"]
  if not maps:
    raise DataError(f"data.name 'crops:...': {source.name} has no label map")
  image, names = image_feature(source), source.features[maps[0]].names
  classes = [number for number, name in enumerate(names) if name != IGNORED]
  channels = image_channels(source)
  generator = np.random.default_rng(seed)
  pieces, labels = [], []
  for number in range(len(source)):  # one at a time: all images need more room than their crops
    (example,) = source.read([number], None, channels)
    if isinstance(example, BadImage):
      raise DataError(f"{source.name}, example {number}: {example}")
    for found in np.intersect1d(example[maps[0]], classes):
      piece = crop(example[image], example[maps[0]] == found, side, generator)
      if piece is not None:
        pieces.append(piece)
        labels.append(classes.index(int(found)))
  if not pieces:
    raise DataError(f"data.name 'crops:{side}:...': no image of {source.name} has room for one")
  features = {
    "image": Feature("image", (side, side, channels), "uint8"),
    "label": Feature("label", (), "int32", tuple(names[number] for number in classes)),
  }
  arrays = {"image": np.stack(pieces), "label": np.array(labels, np.int32)}
  return ArraySource(f"crops of {source.name}", features, arrays)


def crop(
  image: np.ndarray, mask: np.ndarray, side: int, generator: np.random.Generator
) -> np.ndarray | None:
  """Returns a square part of an image [height, width, channels] around a random pixel of the mask.

  The pixel is at row and column `side // 2` of it. None where no part around such a pixel lies within
  the image.
  """
  height, width = mask.shape
  corners = np.argwhere(mask) - side // 2
  corners = corners[((corners >= 0) & (corners <= (height - side, width - side))).all(1)]
  if not len(corners):
    return None
  top, left = corners[generator.integers(len(corners))]
  return image[top : top + side, left : left + side]


register_source("crops", open_crops)
