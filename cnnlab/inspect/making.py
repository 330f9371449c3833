"""The methods of `cnnlab look` that search images for a unit, or make images for a network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import pandas as pd

from cnnlab.errors import ConfigError, unknown
from cnnlab.inspect import grids
from cnnlab.inspect.deconvolution import deconvolution
from cnnlab.inspect.dream import ClassModel, Dream, class_model, deep_dream
from cnnlab.inspect.network import PixelNetwork
from cnnlab.inspect.style import Style, style_transfer
from cnnlab.inspect.subject import Found, Images, Subject
from cnnlab.inspect.units import Box, Responses, strongest

SHOWN_UNITS, SHOWN_PATCHES = 8, 9
BATCH = 32  # images that go through the network at once
LARGE = 2.4  # inches
Settings = TypeVar("Settings", Dream, ClassModel, Style)


def look_at_units(subject: Subject, found: Found) -> None:
  """Draws the patches that units respond to most."""
  _draw_units("units", subject, found, back=False)


def deconvolve(subject: Subject, found: Found) -> None:
  """Draws the same patches, and below each what ZFNet's deconvolution makes of the response."""
  _draw_units("deconvolution", subject, found, back=True)


def _draw_units(name: str, subject: Subject, found: Found, *, back: bool) -> None:
  trained, layer, most = subject.trained, subject.layer, subject.wishes.examples
  images = subject.every_given(most) if subject.given else subject.from_split(most)
  inputs = (trained.inputs(part) for part in _parts(images.stored))
  per_image = subject.wishes.per_image
  responses = strongest(trained, inputs, layer, count=SHOWN_PATCHES, per_image=per_image)
  channels = list(subject.wishes.units) or responses.most_selective(SHOWN_UNITS).tolist()
  if max(channels) >= len(responses.values) or min(channels) < 0:
    raise ConfigError(
      f"--units is {channels}; allowed: units of {layer!r}, from 0 to {len(responses.values) - 1}"
    )
  seen, rows, patterns = subject.seen(images.stored), [], {}
  kernels = _kernels(subject, layer)
  for channel in channels:
    ranks = _ranks(responses, channel)
    boxes = [responses.box(channel, rank) for rank in ranks]
    of = responses.images[channel, ranks]
    row = [
      _patch(seen[number], box, _number(responses.values[channel, rank]))
      for number, box, rank in zip(of, boxes, ranks, strict=True)
    ]
    row[0] = row[0]._replace(caption=f"unit {channel}: {row[0].caption}")
    if kernels is not None:
      row.insert(0, grids.Tile(kernels[channel], "filter"))
    rows.append(row)
    if back:
      places, shown = responses.places[channel, ranks], trained.inputs(images.stored[of])
      pattern = deconvolution(trained, shown, layer, np.full(len(of), channel), places)
      patterns[f"unit{channel}"] = pattern
      below = [_patch(one, box) for one, box in zip(pattern, boxes, strict=True)]
      blank = [grids.Tile(np.full_like(below[0].image, 255, dtype=np.uint8))]
      rows.append(below if kernels is None else blank + below)
  found.figures[name] = grids.rows_figure(
    rows,
    f"What units of {layer} respond to most, of {len(seen)} images",
    "The outline is the receptive field, the number the response. " + _OF_PATTERNS * back,
    side=0.95,
  )
  found.tables[name] = _table(responses, channels, images)
  if patterns:
    found.arrays[name] = patterns


_OF_PATTERNS = (
  "Below: the pattern that a deconvolution finds in it, about gray, each on its own scale."
)


def _ranks(responses: Responses, channel: int) -> list[int]:
  """Returns the ranks of the responses that there are."""
  return list(range(int(np.isfinite(responses.values[channel]).sum())))


def _parts(stored: np.ndarray) -> Iterator[np.ndarray]:
  for first in range(0, len(stored), BATCH):
    yield stored[first : first + BATCH]


def _kernels(subject: Subject, layer: str) -> np.ndarray | None:
  """Returns the filters of a layer that sees the image itself, [channels, height, width, 1 or 3]."""
  try:
    tiles = grids.filters(subject.trained, subject.shape, layer)
  except ConfigError:
    return None
  back = np.argsort(tiles.table["filter"])
  return tiles.images[back] if tiles.images.ndim == 4 else tiles.images[back][..., None]


def _number(value: float) -> str:
  return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _patch(image: np.ndarray, box: Box, caption: str = "") -> grids.Tile:
  """Returns the part of an image about a receptive field, a quarter of its size larger on each side.

  Of a field that is as large as the image, it is the image. What lies outside is gray.
  """
  height, width = image.shape[:2]
  spans = []
  for low, high, side in ((box.top, box.bottom, height), (box.left, box.right, width)):
    margin = max(1, (high - low) // 4)
    spans.append((0, side) if high - low >= side else (low - margin, high + margin))
  (top, bottom), (left, right) = spans
  empty = 0.0 if image.dtype.kind == "f" else 200
  cut = np.full((bottom - top, right - left, image.shape[2]), empty, image.dtype)
  inside = image[max(top, 0) : bottom, max(left, 0) : right]
  y, x = max(-top, 0), max(-left, 0)
  cut[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
  edges = (
    max(box.top - top, 0),
    max(box.left - left, 0),
    min(box.bottom, bottom) - top,
    min(box.right, right) - left,
  )
  return grids.Tile(cut, caption, edges)


def _table(responses: Responses, channels: list[int], images: Images) -> pd.DataFrame:
  """Returns a row for each patch."""
  return pd.DataFrame(
    [
      {
        "unit": channel,
        "rank": rank,
        "response": responses.values[channel, rank],
        "mean_response": responses.mean[channel],
        "image": images.names[responses.images[channel, rank]],
        **responses.box(channel, rank)._asdict(),
      }
      for channel in channels
      for rank in _ranks(responses, channel)
    ]
  )


def _wished(settings: Settings, subject: Subject) -> Settings:
  """Returns the settings with what is wished of them."""
  fields = {field.name for field in dataclasses.fields(settings)}
  wishes = dataclasses.asdict(subject.wishes)
  return dataclasses.replace(
    settings, **{k: v for k, v in wishes.items() if k in fields and v is not None}
  )


def _levels(image: np.ndarray) -> np.ndarray:
  """Returns an image of levels as uint8."""
  return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _keep(found: Found, name: str, image: np.ndarray) -> None:
  """Keeps an image under a name that a file may have and that no other image has."""
  name = unique = re.sub(r"[^\w.-]+", "_", name)
  number = 1
  while unique in found.pictures:
    number += 1
    unique = f"{name}_{number}"
  found.pictures[unique] = _levels(image)


def dream(subject: Subject, found: Found) -> None:
  """Draws images before and after DeepDream."""
  network, settings = PixelNetwork.of(subject.trained), _wished(Dream(), subject)
  rows, tables = [], []
  for name, image in subject.pictures():
    made = deep_dream(network, image, subject.layer, subject.wishes.units or None, settings)
    _keep(found, f"deep_dream_{name}", made.image)
    rows.append(
      [grids.Tile(image, name), grids.Tile(_levels(made.image), f"{subject.layer} dreams")]
    )
    tables.append(made.table.assign(image=name))
  found.figures["deep_dream"] = grids.rows_figure(
    rows,
    "DeepDream",
    f"An image, and the same when {settings.octaves} times {settings.steps} steps of gradient ascent "
    f"have made {subject.layer} respond more.",
    side=2 * LARGE,
  )
  found.tables["deep_dream"] = pd.concat(tables)


def model_classes(subject: Subject, found: Found) -> None:
  """Draws an image of each class that is asked for, the first three by default."""
  names = subject.class_names
  wished = subject.wishes.classes or names[:3]
  for name in wished:
    if name not in names and not (name.isdecimal() and int(name) < len(names)):
      raise ConfigError(unknown("class of --classes", name, names))
  classes = [names.index(name) if name in names else int(name) for name in wished]
  settings = _wished(ClassModel(), subject)
  made = _levels(class_model(PixelNetwork.of(subject.trained), subject.shape, classes, settings))
  tiles = [grids.Tile(image, names[i]) for i, image in zip(classes, made, strict=True)]
  rows = [tiles[first : first + 4] for first in range(0, len(tiles), 4)]
  found.figures["class_model"] = grids.rows_figure(
    rows, "What the network takes for a class", "Made from gray by climbing the logit.", side=LARGE
  )
  for i, image in zip(classes, made, strict=True):
    _keep(found, f"class_model_{names[i]}", image)


def transfer_style(subject: Subject, found: Found) -> None:
  """Draws images in the style of another."""
  if subject.wishes.style is None:
    raise ConfigError("--what=style needs --style=IMAGE")
  network, settings = PixelNetwork.of(subject.trained), _wished(Style(), subject)
  painting = subject.read(subject.wishes.style)
  rows, tables = [], []
  for name, image in subject.pictures():
    made = style_transfer(network, image, painting, settings)
    _keep(found, f"style_{name}", made.image)
    tiles = (image, "content"), (_levels(made.image), "result"), (painting, "style")
    rows.append([grids.Tile(*each) for each in tiles])
    tables.append(made.table.assign(image=name))
  found.figures["style"] = grids.rows_figure(
    rows,
    "Style transfer",
    f"Content from {', '.join(settings.content_layers)}, style from the Gram matrices of "
    f"{', '.join(settings.style_layers)}.",
    side=LARGE,
  )
  found.tables["style"] = pd.concat(tables)
