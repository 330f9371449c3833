"""The methods of `cnnlab look` that show what a network computes and what its decisions rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jax.nn import softmax

from cnnlab.errors import ConfigError
from cnnlab.inspect import attribution, grids
from cnnlab.inspect.adversarial import Target, accuracy_under_attack
from cnnlab.inspect.network import logits
from cnnlab.inspect.subject import Found, Subject
from cnnlab.tasks import Classification

SHOWN_CLASSES = 4  # maps of an image


def look_at_filters(subject: Subject, found: Found) -> None:
  """Draws those of the first convolution."""
  with found.attempt("filters"):
    tiles = grids.filters(subject.trained, subject.shape)
    found.figures["filters"] = grids.tiles_figure(tiles, f"Filters of {tiles.layer}")
    found.tables["filters"] = tiles.table
    found.arrays["filters"] = {"filters": tiles.images}


def look_at_activations(subject: Subject, found: Found) -> None:
  """Draws those of the first image."""
  names, stored, _ = subject.images
  maps = subject.trained.embeddings(stored, subject.stage, pooled=False)
  tiles = grids.activations(subject.stage, maps[0])
  title = f"Activations of {subject.stage}, {names[0]}"
  found.figures["activations"] = grids.tiles_figure(tiles, title)
  found.tables["activations"] = tiles.table
  found.arrays["activations"] = {"images": stored, "maps": maps}


def attribute(subject: Subject, methods: list[str], found: Found) -> None:
  """Draws a row for each image, a column for each of the methods of `cnnlab.inspect.attribution`."""
  trained, (names, stored, _) = subject.trained, subject.images
  inputs = trained.inputs(stored)
  with found.attempt(", ".join(methods)):
    out = np.asarray(logits(trained, inputs))
    classes, probabilities = out.argmax(-1), np.asarray(softmax(out))
    maps: dict[str, np.ndarray] = {}
    for method in methods:
      options = {"stage": subject.stage} if method == "grad_cam" else {}
      with found.attempt(method):
        maps[method] = getattr(attribution, method)(trained, inputs, classes, **options)
    labels = _labels(subject, out.shape[1])
    rows = np.arange(len(classes)), classes
    confidence, predicted = probabilities[rows], [labels[i] for i in classes]
    captions = [
      f"{_short(name)}\n{_short(label)}, {share:.1%}"
      for name, label, share in zip(names, predicted, confidence, strict=True)
    ]
    # Signed shares of channels are added, so that a pixel's sign can be read.
    shown = {m: a.sum(-1) if m == "integrated_gradients" else a for m, a in maps.items()}
    figure = grids.attribution_figure(subject.seen(stored), captions, shown)
    found.figures["attributions"] = figure
    table = pd.DataFrame({"image": names, "class": predicted, "probability": confidence})
    table["logit"] = out[rows]
    if "integrated_gradients" in maps:  # which sum to the difference, but for the integral's error
      empty = np.asarray(logits(trained, np.zeros_like(inputs)))[rows]
      table["difference_to_baseline"] = table["logit"] - empty
      table["sum_of_integrated_gradients"] = maps["integrated_gradients"].sum((1, 2, 3))
    found.tables["attributions"] = table
    found.arrays["attributions"] = {"images": stored, "inputs": inputs, "classes": classes, **maps}


def look_at_class_maps(subject: Subject, found: Found) -> None:
  """Draws the maps of the classes that have most of each image."""
  names, stored, _ = subject.images
  maps = attribution.class_maps(subject.trained, subject.trained.inputs(stored))
  labels = _labels(subject, maps.shape[-1])
  # A classifier's logits are the means of its maps; of pixels, a class has a share.
  classifies = isinstance(subject.trained.task, Classification)
  score = (maps if classifies else np.asarray(softmax(maps, axis=-1))).mean((1, 2))
  rows = []
  for name, image, own, scores in zip(names, subject.seen(stored), maps, score, strict=True):
    best = np.argsort(-scores, kind="stable")[:SHOWN_CLASSES]
    most = float(np.abs(own[..., best]).max())
    tiles = [
      grids.Tile(own[..., i], f"{_short(labels[i])}\nmean {own[..., i].mean():.2g}", most=most)
      for i in best
    ]
    rows.append([grids.Tile(image, f"{_short(name)}\n±{most:.2g}"), *tiles])
  found.figures["class_maps"] = grids.rows_figure(
    rows,
    "Evidence for classes over the image",
    "Logits, from minus the value above the image (blue) over 0 (white) to plus that value (red), of the "
    f"classes with the largest mean {'logit' if classifies else 'probability'}.",
  )
  table = pd.DataFrame(score, columns=list(labels))
  table.insert(0, "image", names)
  found.tables["class_maps"] = table
  found.arrays["class_maps"] = {"images": stored, "maps": maps}


def _labels(subject: Subject, outputs: int) -> tuple[str, ...]:
  """Returns the names of classes, and numbers for outputs without one."""
  names = subject.class_names
  return names + tuple(map(str, range(len(names), outputs)))


def _short(text: str, most: int = 22) -> str:
  return text if len(text) <= most else f"{text[: most - 1]}…"


def attack(subject: Subject, found: Found) -> None:
  """Draws the accuracy under attack over epsilon, on the evaluation split.

  Raises:
    ConfigError: its examples have no label.
  """
  _, stored, labels = subject.from_split(subject.wishes.examples)
  if labels is None:
    raise ConfigError("adversarial: the run is of no classifier, whose labels an attack needs")
  target, epsilons = Target.of(subject.trained), subject.wishes.epsilons
  table = accuracy_under_attack(target, stored, labels, epsilons)
  found.tables["adversarial"] = table
  found.figures["adversarial"] = grids.attack_figure(table)
