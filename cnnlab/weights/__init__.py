"""Weights that others trained, brought into cnnlab's models."""

from cnnlab.weights.torchvision import WeightsError, from_torchvision, read_tensors

__all__ = ["WeightsError", "from_torchvision", "read_tensors"]
