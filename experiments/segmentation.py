"""The recipes of the segmentation experiments: forms of one experiment that differ in data and cost.

  paper    CamVid at full size, wide encoders; for an accelerator
  quick    for two CPU cores: CamVid at 96x128 pixels, encoders of a quarter of the width
  scenes   for two CPU cores, without a download: digit scenes of 48x48 pixels, the same encoders
  tiny     two steps on small digit scenes, for the tests

An empty name selects `quick`. TFDS provides CamVid; `--config.data.dir=DIR` sets its directory. All
train from random weights until the rate has decayed to zero, and in `quick` and `scenes` all variants
try the same learning rates.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import Recipe
from cnnlab.lab import Condition, Tuning
from cnnlab.lab.variants import Overrides

METRIC, BOUNDARY = "eval/miou", "eval/boundary_f"
SEEDS = (0, 1, 2, 3, 4)
RATES = {"quick": (0.03, 0.1, 0.3, 1.0), "scenes": (0.03, 0.1, 0.3)}
# The regime of most claims; that of the background alone is 0.08 on digit scenes.
TRAINED = Condition("the nets have learned to segment", "trainset/miou", ">=", 0.3)

_SHARED: Overrides = {
  "eval_trainset": True,
  "eval_every_epochs": 10.0,
  "checkpoint_every_epochs": 0.0,
  "optim.weight_decay": 0.0005,
  "schedule.name": "cosine",
}
PAPER: Overrides = {
  **_SHARED,
  "batch_size": 16,
  "epochs": 200.0,
  "data.image_size": (360, 480),
  "optim.learning_rate": 0.1,
}
QUICK: Overrides = {
  **_SHARED,
  "batch_size": 8,
  "eval_batch_size": 32,
  "epochs": 40.0,
  "log_every_steps": 45,
  "data.image_size": (96, 128),
  "data.transforms": ("scale(low=0.8, high=1.25)", "crop(padding=12)"),
  "schedule.warmup_epochs": 1.0,
}
SCENES: Overrides = {
  **_SHARED,
  "batch_size": 32,
  "eval_batch_size": 100,
  "epochs": 30.0,
  "log_every_steps": 62,
  "data.name": "scenes",
  "schedule.warmup_epochs": 1.0,
}
TINY: Overrides = {
  "batch_size": 8,
  "eval_batch_size": 8,
  "max_steps": 2,
  "log_every_steps": 1,
  "eval_trainset": True,
  "checkpoint_every_epochs": 0.0,
  "schedule.warmup_epochs": 0.0,
  "data.name": "scenes:train=16,eval=8,height=24,width=24",
}
REDUCED = {
  "quick": "Quick recipe: CamVid's 367 training and 233 test images at 96x128 pixels; narrow encoders, "
  "trained from random weights. ",
  "scenes": "Digit scenes of 48x48 pixels in place of photographs; narrow encoders, trained from "
  "random weights. ",
}


def page(recipe: str, model: str) -> str:
  """Returns the config page of a recipe with a network."""
  return f"configs/{'scenes' if recipe in ('scenes', 'tiny') else 'camvid'}.py:{model}"


def choose(
  name: str,
  *,
  paper: Overrides | None = None,
  quick: Overrides | None = None,
  tiny: Overrides | None = None,
  note: str = "",
) -> Recipe:
  """Returns the recipe with the given name, to be applied to `page`.

  Args:
    name: `paper`, `quick`, `scenes`, `tiny`, or empty for `quick`.
    paper, tiny: overrides for these forms, in addition to `PAPER` and `TINY`.
    quick: overrides for `quick` and `scenes`, in addition to `QUICK` and `SCENES`.
    note: what the papers' figures are of.

  Raises:
    KeyError: the name is unknown.
  """
  if name == "paper":
    return Recipe(name, {**PAPER, **(paper or {})}, SEEDS, f"CamVid, from random weights. {note}")
  if name == "tiny":
    return Recipe(name, {**TINY, **(tiny or {})}, (0, 1), "Two steps on scenes, for tests only.")
  name = name or "quick"
  overrides = {**{"quick": QUICK, "scenes": SCENES}[name], **(quick or {})}
  return Recipe(
    name, overrides, SEEDS, REDUCED[name] + note, Tuning({"optim.learning_rate": RATES[name]})
  )
