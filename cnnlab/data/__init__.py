"""Data sets: embedded digits, prepared TFDS sets, image folders; on the device or streamed."""

from cnnlab.data.augment import Preprocess
from cnnlab.data.features import Feature, View
from cnnlab.data.images import load_image
from cnnlab.data.order import train_indices
from cnnlab.data.pipeline import Data, load, outline, register_source
from cnnlab.data.settings import DataSettings
from cnnlab.data.sources import Source, from_arrays
from cnnlab.data.splits import Split

__all__ = [
  "Data",
  "DataSettings",
  "Feature",
  "Preprocess",
  "Source",
  "Split",
  "View",
  "from_arrays",
  "load",
  "load_image",
  "outline",
  "register_source",
  "train_indices",
]
