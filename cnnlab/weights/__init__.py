"""Conversion of published weights to the models of `cnnlab.models`."""

from cnnlab.weights.imagenet import class_names, imagenet_classes, input_normalization
from cnnlab.weights.torchvision import (
  WeightsError,
  convertible_models,
  from_torchvision,
  read_tensors,
)

__all__ = [
  "WeightsError",
  "class_names",
  "convertible_models",
  "from_torchvision",
  "imagenet_classes",
  "input_normalization",
  "read_tensors",
]
