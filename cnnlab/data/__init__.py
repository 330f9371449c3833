"""Data sets: files, arrays, prepared TFDS sets, generated scenes; on the device or streamed."""

from cnnlab.data.arrays import from_arrays
from cnnlab.data.augment import Preprocess
from cnnlab.data.features import Feature, View, fit_example
from cnnlab.data.images import BadImage, load_image
from cnnlab.data.mixing import Mix
from cnnlab.data.opening import register_source
from cnnlab.data.order import train_indices
from cnnlab.data.pipeline import Data, load, outline
from cnnlab.data.settings import DataSettings
from cnnlab.data.sources import ArraySource, Source
from cnnlab.data.splits import Split
from cnnlab.data.transforms import (
  AxisMap,
  ColorTransform,
  GeometricTransform,
  PixelTransform,
  register_transform,
)

__all__ = [
  "ArraySource",
  "AxisMap",
  "BadImage",
  "ColorTransform",
  "Data",
  "DataSettings",
  "Feature",
  "GeometricTransform",
  "Mix",
  "PixelTransform",
  "Preprocess",
  "Source",
  "Split",
  "View",
  "fit_example",
  "from_arrays",
  "load",
  "load_image",
  "outline",
  "register_source",
  "register_transform",
  "train_indices",
]
