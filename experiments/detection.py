"""The recipes of the detection experiments: forms of one experiment that differ in data and cost.

  paper    BCCD at full size with a ResNet-50; for an accelerator
  quick    for two CPU cores: BCCD at 120x160 pixels, a narrow ResNet-18
  scenes   for two CPU cores, without a download: digit scenes of 64x64 pixels, the same network
  tiny     two steps on small digit scenes, for the tests

An empty name selects `quick`. TFDS provides BCCD; `--config.data.dir=DIR` sets its directory. All
train from random weights until the rate has decayed to zero, and in `quick` and `scenes` all variants
try the same learning rates.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import Recipe
from cnnlab.lab import Condition, Tuning
from cnnlab.lab.variants import Overrides

METRIC, SMALL, LARGE = "eval/map", "eval/map_small", "eval/map_large"
SEEDS = (0, 1, 2)
RATES = (0.001, 0.003, 0.01)
HELD_OUT = {"quick": 0.2, "scenes": 0.1}  # for tuning; BCCD has 205 training images
# The regime of most claims: a detector that draws boxes at random has a mAP of about 0.
TRAINED = Condition("the detectors have learned to find objects", "trainset/map", ">=", 0.2)
# Digits of 8 to 48 pixels in scenes of 64x64, so that all sizes of anchors are needed.
SCENE = "scenes:{}height=64,width=64,most=4,low=0.12,high=0.75,boxes=True"

_SHARED: Overrides = {
  "eval_trainset": True,
  "eval_every_epochs": 0.0,
  "checkpoint_every_epochs": 0.0,
  "schedule.name": "cosine",
}
PAPER: Overrides = {
  **_SHARED,
  "batch_size": 16,
  "epochs": 150.0,
  "data.image_size": (480, 640),
  "model.width": 1.0,
  "model.features": 256,
  "task.candidates": 1000,
  "task.size_limits": (32.0, 96.0),
}
REDUCED: Overrides = {**_SHARED, "model.width": 0.25, "model.features": 32}
QUICK: Overrides = {**REDUCED, "epochs": 30.0, "log_every_steps": 50}
SCENES: Overrides = {
  **REDUCED,
  "epochs": 32.0,
  "log_every_steps": 62,
  "data.name": SCENE.format("train=1000,eval=500,"),
}
TINY: Overrides = {
  "max_steps": 2,
  "log_every_steps": 1,
  "eval_trainset": True,
  "checkpoint_every_epochs": 0.0,
  "data.name": "scenes:train=16,eval=8,height=32,width=32,boxes=True",
}
NOTES = {
  "paper": "BCCD at full size, from random weights. ",
  "quick": "BCCD's 205 training and 72 test images at 120x160 pixels; a narrow ResNet-18, trained from "
  "random weights. ",
  "scenes": "Digit scenes of 64x64 pixels in place of photographs; a narrow ResNet-18, trained from "
  "random weights. ",
  "tiny": "Two steps on scenes, for tests only.",
}


def page(recipe: str) -> str:
  """Returns the config page of a recipe."""
  form = {"scenes": "digits", "tiny": "tiny"}.get(recipe, "retinanet")
  return f"configs/bccd.py:{form}"


def choose(name: str, note: str) -> Recipe:
  """Returns the recipe with the given name, to be applied to `page`.

  Args:
    name: `paper`, `quick`, `scenes`, `tiny`, or empty for `quick`.
    note: what the papers' figures are of.

  Raises:
    KeyError: the name is unknown.
  """
  name = name or "quick"
  overrides = {"paper": PAPER, "quick": QUICK, "scenes": SCENES, "tiny": TINY}[name]
  if name == "tiny":
    return Recipe(name, overrides, (0, 1), NOTES[name])
  if name == "paper":
    return Recipe(name, overrides, SEEDS, NOTES[name] + note)
  tuning = Tuning({"optim.learning_rate": RATES}, validation=HELD_OUT[name])
  return Recipe(name, overrides, SEEDS, NOTES[name] + note, tuning)
