"""The table of all models: what each costs on the images it was published for, and what proves it.

`published.json` holds the published figures: exact parameter counts (torchvision's, or those that
follow from a paper's layer list), torchvision's multiply-adds, and whose outputs are compared.
"""

from __future__ import annotations

import fnmatch
import importlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cnnlab.inspect.sheet import describe
from cnnlab.models import create_model, list_models
from cnnlab.models.registry import family_of

# Images of the data set that a net was published for, by family or by pattern of names; nets of
# ImageNet are not listed. AlexNet's paper says 224, but its layers fit 227.
IMAGE_SHAPES: dict[str, tuple[int, int, int]] = {
  "alexnet_2012": (227, 227, 3),
  "lenet5*": (32, 32, 1),
  "convnet": (32, 32, 3),
  "densenet*_*": (32, 32, 3),
  "densenet40_12": (32, 32, 3),
  "family all_cnn": (32, 32, 3),
  "family highway": (32, 32, 3),
  "family resnet_cifar": (32, 32, 3),
}
IMAGENET = (224, 224, 3)


class Entry(NamedTuple):
  """A line of the table.

  Attributes:
    name: of the model.
    paper: title and number, from the family's page.
    image_shape: (height, width, channels).
    parameters: counted.
    multiply_adds: of one image, counted.
    published: the published count of parameters, None where there is none to compare with.
    source: of the published count.
    status: 'outputs', 'count' or 'neither': what is proven against it.
  """

  name: str
  paper: str
  image_shape: tuple[int, int, int]
  parameters: int
  multiply_adds: int
  published: int | None
  source: str
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
  """Returns the published figures: name -> parameters, source, and where known gmacs, outputs."""
  return json.loads((Path(__file__).parent / "published.json").read_text())


def entry(name: str) -> Entry:
  """Returns a model's line; ConfigError if it is unknown."""
  shape = image_shape(name)
  sheet = describe(create_model(name), shape)
  known = published().get(name, {})
  agrees = known.get("parameters") == sheet.parameters
  proven = "outputs" if known.get("outputs") else "count"
  return Entry(
    name=name,
    paper=paper(name),
    image_shape=shape,
    parameters=sheet.parameters,
    multiply_adds=sheet.multiply_adds,
    published=known.get("parameters"),
    source=known.get("source", ""),
    status=proven if agrees else "neither",
  )


def paper(name: str) -> str:
  """Returns the first sentence of the family's page, which names the paper."""
  module = importlib.import_module(f"cnnlab.models.{family_of(name)}")
  return (module.__doc__ or "").strip().splitlines()[0].rstrip(".")


def markdown(pattern: str = "*") -> str:
  """Returns the table of the models that match, as a page of Markdown; takes a second a model."""
  return page([entry(name) for name in list_models(pattern)])


def page(entries: list[Entry]) -> str:
  """Returns the page of some lines, grouped by paper."""
  lines = [
    "# Models",
    "",
    "Made by `cnnlab models --table > docs/models.md`; do not edit. Parameters and multiply-adds are",
    "counted by tracing the model on one image of the size given; a multiply-add counts as one.",
    "",
    "Proof: **outputs**, logits agree with torchvision's for the same weights and images; **count**,",
    "the parameters equal the published count exactly; **neither**, there is no published count to",
    "compare with, or it differs. All nets are also held to their published or torchvision counts, and",
    "torchvision's multiply-adds within 1 %, by the tests.",
  ]
  for title in dict.fromkeys(item.paper for item in entries):
    own = [item for item in entries if item.paper == title]
    lines += [
      "",
      f"## {title}",
      "",
      "| name | image | parameters | multiply-adds | published | proof |",
    ]
    lines += ["|---|---|--:|--:|---|---|", *map(_line, own)]
  return "\n".join(lines) + "\n"


def _line(item: Entry) -> str:
  image = "x".join(map(str, item.image_shape))
  told = f"{item.published:,}, {item.source}" if item.published is not None else ""
  return (
    f"| `{item.name}` | {image} | {item.parameters:,} | {item.multiply_adds / 1e9:.4g} G "
    f"| {told} | {item.status} |"
  )
