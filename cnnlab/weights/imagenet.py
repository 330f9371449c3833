"""Input normalization and class names of torchvision's weights: ImageNet's, PASCAL VOC's or COCO's."""

from __future__ import annotations

import json
from pathlib import Path

from cnnlab.models.registry import family_of, output_of
from cnnlab.weights.coco import coco_classes

Channels = tuple[float, float, float]
MEAN: Channels = (0.485 * 255, 0.456 * 255, 0.406 * 255)
DEVIATION: Channels = (0.229 * 255, 0.224 * 255, 0.225 * 255)
# torchvision's GoogLeNet weights come from TensorFlow and expect pixels in [-1, 1].
SYMMETRIC = ("googlenet",)
VOC = (
  "background",
  "aeroplane",
  "bicycle",
  "bird",
  "boat",
  "bottle",
  "bus",
  "car",
  "cat",
  "chair",
  "cow",
  "diningtable",
  "dog",
  "horse",
  "motorbike",
  "person",
  "pottedplant",
  "sheep",
  "sofa",
  "train",
  "tvmonitor",
)


def input_normalization(name: str) -> tuple[Channels, Channels]:
  """Returns (mean, scale) per channel for pixels in 0..255: inputs are (x - mean) / scale."""
  if family_of(name) in SYMMETRIC:
    return (127.5,) * 3, (127.5,) * 3
  return MEAN, DEVIATION


def class_names(name: str, count: int) -> list[str]:
  """Returns names for the classes of a model's published weights, or numbers if there are others."""
  named = {"segmentation": lambda: list(VOC), "detection": coco_classes}
  published = named.get(output_of(name), imagenet_classes)()
  return published if count == len(published) else numbered_classes(count)


def numbered_classes(count: int) -> list[str]:
  """Returns the names of classes that are not known."""
  return [f"class {i}" for i in range(count)]


def imagenet_classes() -> list[str]:
  """Returns torchvision's names of the ImageNet-1k classes, by label."""
  file = Path(__file__).with_name("imagenet_classes.json")
  return json.loads(file.read_text(encoding="utf-8"))
