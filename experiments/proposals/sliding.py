"""The detector before proposals: a classifier of digits and background slides over scenes at several sizes.

Windows of 24x24 pixels around digits, and elsewhere, train the classifier; its mAP at an IoU of 0.5 is measured on
the scenes that the experiment evaluates, and stands in the sweep's figures as `sliding.json`. A window is
square, and a digit is not: that is what a box's own regression is for.

python -m cnnlab.experiments.proposals.sliding runs/proposals
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cnnlab import runs
from cnnlab.config import apply_overrides, load_page
from cnnlab.data.features import Example
from cnnlab.data.scenes import SceneSource, open_scenes
from cnnlab.experiments.detection import SCENE
from cnnlab.lab.report.write import FIGURES
from cnnlab.lab.script import run_script
from cnnlab.lab.variants import Overrides
from cnnlab.models import slide
from cnnlab.proposals.recall import recalled
from cnnlab.proposals.windows import detect_by_sliding
from cnnlab.tasks.base import MetricValue
from cnnlab.tasks.detection_metrics import coco_scores
from cnnlab.train import train

NAMES = (*map(str, range(10)), "background")
SIDE = 24  # of a window in pixels
# Of a scene of 64x64, so that digits of 10 to 55 pixels fill a window.
SIZES = (28, 36, 48, 64, 84, 112, 148)
JITTER = 0.08  # by which a window around a digit may be off, as a share of its side
BACKGROUNDS = 6  # windows of a scene that show no digit
MOST = 30  # detections in a scene
RECIPE: Overrides = {
  "model.features": (16, 32), "model.padding": "valid", "model.pool_fit": "crop", "model.norm": "batch",
  "model.convs_per_block": 1, "model.hidden": (64,), "data.crop_padding": 0,
}  # fmt: skip


def windows_of(source: SceneSource, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns windows, uint8 [n, SIDE, SIDE, 3], around the digits of scenes and beside them, and labels."""
  images, labels = [], []
  for index in range(count):
    scene, random = source.scene(index), np.random.RandomState(index)
    picture, digits = Image.fromarray(scene["image"]), scene["boxes"]
    for box, label in [*zip(digits, scene["box_labels"], strict=False)] * 2:
      images.append(_cut(picture, _around(box, random)))
      labels.append(int(label))
    empty = _elsewhere(random, picture.size, digits)
    images += [_cut(picture, box) for box in empty]
    labels += [len(NAMES) - 1] * len(empty)
  return np.stack(images), np.array(labels, np.int32)


def _around(box: np.ndarray, random: np.random.RandomState) -> np.ndarray:
  """Returns a square about a digit's center, a little off."""
  center, side = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2])
  center = center + side * random.uniform(-JITTER, JITTER, 2)
  half = side / 2 * random.uniform(1 - JITTER, 1 + JITTER)
  return np.concatenate([center - half, center + half])


def _elsewhere(
  random: np.random.RandomState, size: tuple[int, int], digits: np.ndarray
) -> list[np.ndarray]:
  """Returns windows that overlap every digit by less than 0.3."""
  found: list[np.ndarray] = []
  while len(found) < BACKGROUNDS:
    side = random.uniform(8, 0.8 * min(size))
    corner = random.uniform(0, 1, 2) * (np.array(size[::-1]) - side)
    box = np.concatenate([corner, corner + side])
    if not recalled(box[None], digits, 0.3).any():
      found.append(box)
  return found


def _cut(picture: Image.Image, box: np.ndarray) -> np.ndarray:
  top, left, bottom, right = map(float, box)
  part = picture.transform(
    (SIDE, SIDE), Image.Transform.EXTENT, (left, top, right, bottom), Image.Resampling.BILINEAR
  )
  return np.asarray(part)


def train_classifier(folder: Path, scenes: str, epochs: float) -> dict[str, float | None]:
  """Trains the classifier of windows in `folder`/run; returns its last metrics."""
  train_source, eval_source = open_scenes(scenes)
  parts = {"train": windows_of(train_source, len(train_source))}
  parts["val"] = windows_of(eval_source, min(200, len(eval_source)))
  arrays: dict[str, Any] = {f"{split}_images": images for split, (images, _) in parts.items()}
  arrays |= {f"{split}_labels": labels for split, (_, labels) in parts.items()}
  folder.mkdir(parents=True, exist_ok=True)
  np.savez(folder / "windows.npz", class_names=NAMES, **arrays)
  keys = {**RECIPE, "epochs": epochs, "data.name": f"npz:{folder / 'windows.npz'}"}
  page = apply_overrides(load_page("configs/digits.py"), {**keys, "eval_every_epochs": 0.0})
  return train(page, folder / "run")


def score(run: Path, source: SceneSource, count: int) -> dict[str, MetricValue]:
  """Returns COCO's scores of the sliding classifier of a run on the first scenes of a source."""
  trained = runs.load(run).trained
  sliding = slide(trained.model, (SIDE, SIDE, 3))
  shorter = min(source.settings.height, source.settings.width)
  find = partial(
    detect_by_sliding, sliding, background=len(NAMES) - 1, most=MOST, threshold=0.3,
    scales=[size / shorter for size in SIZES],
  )  # fmt: skip
  detect = jax.jit(lambda image: find(trained.variables, image))
  normalize = trained.preprocess.normalize
  rows = []
  for index in range(count):
    scene = source.scene(index)
    rows.append(_row(scene, detect(normalize(jnp.asarray(scene["image"])))))
  whole = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  return coco_scores(whole, NAMES[:-1], (16.0, 32.0))


def _row(scene: Example, found: tuple[jax.Array, ...]) -> dict[str, np.ndarray]:
  """Returns what is true of a scene and what was found in it, as COCO's scores are made of."""
  boxes, scores, classes, mask = map(np.asarray, found)
  most, own = len(scene["box_labels"]), len(scene["boxes"])
  return {
    "true_boxes": np.pad(scene["boxes"], ((0, most - own), (0, 0))),
    "true_labels": scene["box_labels"],
    "true_valid": np.arange(most) < own,
    "true_crowd": np.zeros(most, bool),
    "boxes": boxes, "scores": scores, "labels": classes, "valid": mask,
  }  # fmt: skip


def main(sweep: Path, scenes: str = "", count: int = 500, epochs: float = 12.0) -> None:
  """Trains and measures the sliding classifier, and writes figures/sliding.json to a sweep's directory.

  Args:
    sweep: directory of the sweep.
    scenes: settings of the scenes; those of the experiment's quick form by default.
    count: scenes of the evaluation split that are searched.
    epochs: of training.
  """
  settings = (scenes or SCENE.format("train=1000,eval=500,")).removeprefix("scenes:")
  folder = sweep / "sliding"
  classifier = train_classifier(folder, settings, epochs)
  scores = score(folder / "run", open_scenes(settings)[1], count)
  file = sweep / FIGURES / "sliding.json"
  file.parent.mkdir(parents=True, exist_ok=True)
  file.write_text(json.dumps({"error of windows": classifier["eval/error"], **scores}, indent=2))
  print(file)


if __name__ == "__main__":
  run_script(main, __doc__)
