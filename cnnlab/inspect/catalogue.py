"""The table of all models: cost on the images each was published for, and how it is verified.

`published.json` holds the published figures: exact parameter counts (torchvision's, or those that
follow from a paper's layer list) or millions as printed, with half a unit of the last digit as
tolerance, and whether the outputs are compared with torchvision's.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cnnlab.inspect.sheet import describe
from cnnlab.models import create_model, list_models
from cnnlab.models.registry import OUTPUTS, family_of, module_of, output_of

# Image shapes of the data set that a net was published for, by family or name pattern; ImageNet
# models are not listed. Those of segmentation are torchvision's and the papers' for PASCAL VOC;
# detectors resize COCO's images to a short side of 800.
IMAGE_SHAPES: dict[str, tuple[int, int, int]] = {
  "fcn_resnet*": (520, 520, 3),
  "deeplabv3_resnet*": (520, 520, 3),
  "family fcn": (500, 500, 3),
  "unet": (572, 572, 1),
  "family pspnet": (473, 473, 3),
  "family deeplab": (513, 513, 3),
  "family faster_rcnn": (800, 800, 3),
  "family retinanet": (800, 800, 3),
  "highway10_*": (28, 28, 1),
  "lenet5*": (32, 32, 1),
  "convnet": (32, 32, 3),
  "densenet*_*": (32, 32, 3),
  "densenet40_12": (32, 32, 3),
  "autoencoder_dense": (28, 28, 1),
  "family autoencoder": (32, 32, 3),
  "family all_cnn": (32, 32, 3),
  "family highway": (32, 32, 3),
  "family policy": (19, 19, 48),
  "family resnet_cifar": (32, 32, 3),
}
IMAGENET = (224, 224, 3)


class Entry(NamedTuple):
  """A line of the table.

  Attributes:
    name: the model's name.
    paper: title and number, from the docstring of the family's module.
    output: what it computes, one of `cnnlab.models.registry.OUTPUTS`.
    image_shape: (height, width, channels).
    parameters: counted number of parameters.
    multiply_adds: counted for one image.
    published: the published number of parameters with its source, '' if there is none.
    status: what is verified: 'outputs', 'count', 'printed digits' or 'neither'.
  """

  name: str
  paper: str
  output: str
  image_shape: tuple[int, int, int]
  parameters: int
  multiply_adds: int
  published: str
  status: str


def image_shape(name: str) -> tuple[int, int, int]:
  """Returns (height, width, channels) of the images that a model was published for."""
  family = f"family {family_of(name)}"
  for pattern, shape in IMAGE_SHAPES.items():
    if pattern == family or fnmatch.fnmatch(name, pattern):
      return shape
  return IMAGENET


@cache
def published() -> dict[str, dict]:
  """Returns the published figures by name: parameters, source and, if known, gmacs and outputs."""
  return json.loads((Path(__file__).parent / "published.json").read_text())


def entry(name: str) -> Entry:
  """Returns a model's line; ConfigError for an unknown model."""
  shape = image_shape(name)
  sheet = describe(create_model(name), shape)
  told, status = _proof(published().get(name, {}), sheet.parameters)
  counted = sheet.parameters, sheet.multiply_adds
  return Entry(name, paper(name), output_of(name), shape, *counted, told, status)


def _proof(known: dict, parameters: int) -> tuple[str, str]:
  """Returns the published figure as text, and what a count of `parameters` verifies."""
  if "millions" in known:
    agrees = abs(parameters / 1e6 - known["millions"]) <= known["within"]
    told = f"{known['millions']} M, {known['source']}"
    return told, "printed digits" if agrees else "neither"
  if "parameters" in known:
    status = "outputs" if known.get("outputs") else "count"
    told = f"{known['parameters']:,}, {known['source']}"
    return told, status if known["parameters"] == parameters else "neither"
  return "", "neither"


def paper(name: str) -> str:
  """Returns the first line of the family's docstring, which names the paper."""
  module = sys.modules[module_of(name)]
  return (module.__doc__ or "").strip().splitlines()[0].rstrip(".")


def markdown(pattern: str = "*") -> str:
  """Returns the table of the matching models as Markdown; takes about a second per model."""
  return render([entry(name) for name in list_models(pattern)])


def render(entries: list[Entry]) -> str:
  """Returns entries as a page of Markdown, grouped by paper."""
  lines = [
    "# Models",
    "",
    "Made by `cnnlab models --table > docs/models.md`. Parameters and multiply-adds are",
    "counted by tracing the model on one image of the size given; a multiply-add counts as one.",
    "",
    "Proof, all of it by the tests: **outputs**, logits agree with torchvision's for the same weights and",
    "images, and so do the parameters; **count**, the parameters are exactly those published, by",
    "torchvision or as they follow from the paper's layer list; **printed digits**, they agree with the",
    "millions that the source prints; **neither**, no count is published. Where torchvision gives a",
    "model's multiply-adds, ours agree within 1 %.",
  ]
  for title in dict.fromkeys(item.paper for item in entries):
    own = [item for item in entries if item.paper == title]
    lines += [
      "",
      f"## {title}",
      "",
      *([f"For {own[0].output}.", ""] if own[0].output != OUTPUTS[0] else []),
      "| name | image | parameters | multiply-adds | published | proof |",
    ]
    lines += ["|---|---|--:|--:|---|---|", *map(_line, own)]
  return "\n".join(lines) + "\n"


def _line(item: Entry) -> str:
  image = "x".join(map(str, item.image_shape))
  return (
    f"| `{item.name}` | {image} | {item.parameters:,} | {item.multiply_adds / 1e9:.4g} G "
    f"| {item.published} | {item.status} |"
  )
