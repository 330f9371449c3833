"""Weights that others trained, brought into cnnlab's models."""

from cnnlab.weights.imagenet import imagenet_classes, input_normalisation
from cnnlab.weights.torchvision import (
  WeightsError,
  convertible_models,
  from_torchvision,
  read_tensors,
)

__all__ = [
  "WeightsError",
  "convertible_models",
  "from_torchvision",
  "imagenet_classes",
  "input_normalisation",
  "read_tensors",
]
