"""Conversion of published weights to the models of `cnnlab.models`."""

from cnnlab.weights.imagenet import (
  class_names,
  imagenet_classes,
  input_normalization,
  numbered_classes,
)
from cnnlab.weights.mapping import read_mapping, renamed
from cnnlab.weights.reading import WeightsError, read_parts, read_tensors
from cnnlab.weights.torchvision import (
  TORCHVISION,
  convertible_models,
  from_tensors,
  from_torchvision,
)

__all__ = [
  "TORCHVISION",
  "WeightsError",
  "class_names",
  "convertible_models",
  "from_tensors",
  "from_torchvision",
  "imagenet_classes",
  "input_normalization",
  "numbered_classes",
  "read_mapping",
  "read_parts",
  "read_tensors",
  "renamed",
]
