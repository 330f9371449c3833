"""Cross-entropy, weights of classes, and focal loss where most pixels are background.

Sources: arXiv:1708.02002, tables 1a and 1b: on COCO a gamma of 2 is best, 2.9 points of AP over the
best weighted cross-entropy; the lecture notes: with 97 % background, the many pixels that are
classified well dominate cross-entropy (worked through in docs/arithmetic.md). How rare the classes
are is set here: a single small digit covers about 5 % of a `rare_` scene, and three large ones about
20 % of a `common_` one, with ten classes of digits. The network is a U-Net; only the loss differs. As in table 1b, focal losses have
weights of the classes as well, but for `plain_focal2`. The losses differ in scale by more than ten
times, which is no part of the claims: hence AdamW, whose steps do not depend on it.
"""

from __future__ import annotations

import dataclasses

from cnnlab.experiments.segmentation import METRIC, TRAINED, choose
from cnnlab.lab import Claim, Experiment, Tuning
from cnnlab.lab.variants import Overrides

RECIPES = ("paper", "quick", "tiny")
FOCAL = "arXiv:1708.02002, table 1b"
NOTES = "lecture notes on segmentation, focal loss"
GAMMAS = (0.5, 1.0, 2.0, 5.0)
RATES = (0.003, 0.01, 0.03)


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    {"": "scenes", "quick": "scenes"}.get(recipe, recipe),
    paper={"batch_size": 64, "epochs": 100.0},
    tiny={"model.features": (4, 4)},
  )
  count = {"paper": "train=20000,eval=5000,", "tiny": "train=16,eval=8,"}.get(chosen.name, "")
  scenes = f"scenes:{count}height=32,width=32,clutter=2,"
  data = {
    "rare": f"{scenes}least=1,most=1,low=0.35,high=0.45",
    "common": f"{scenes}least=3,most=3,low=0.45,high=0.6",
  }
  balanced = {"task.class_weights": "inverse"}
  losses: dict[str, Overrides] = {
    "cross_entropy": {"task.class_weights": "none"},
    "plain_focal2": {"task.class_weights": "none", "task.gamma": 2.0},
    "inverse": balanced,
    "median": {"task.class_weights": "median"},
    **{f"focal{gamma:g}": {**balanced, "task.gamma": gamma} for gamma in GAMMAS},
  }
  controls = ("inverse", "focal2")
  return Experiment(
    name="focal",
    question="Is focal loss better than cross-entropy where most pixels are background?",
    config="configs/scenes.py",
    overrides={**chosen.overrides, "optim.name": "adamw", "optim.learning_rate": 0.01},
    variants={
      f"{imbalance}_{label}": {"data.name": data[imbalance], **loss}
      for imbalance, labels in (("rare", tuple(losses)), ("common", controls))
      for label, loss in losses.items()
      if label in labels
    },
    base="rare_cross_entropy",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning and Tuning({"optim.learning_rate": RATES}),
    # Another loss may fail to learn, which is what the claims are about.
    regime=(dataclasses.replace(TRAINED, variants=("*_focal2",)),),
    claims=(
      Claim(
        "focal loss is better than cross-entropy",
        "rare_plain_focal2", ">", "rare_cross_entropy", f"34.0 against 30.2 AP, {FOCAL} and a; {NOTES}",
      ),
      Claim(
        "with weights of the classes, it is better than these alone",
        "rare_focal2", ">", "rare_inverse", f"34.0 against 31.1 AP, {FOCAL} and a",
      ),
      Claim(
        "a gamma of 2 is better than 0.5",
        "rare_focal2", ">", "rare_focal0.5", f"34.0 against 32.9 AP, {FOCAL}",
      ),
      Claim(
        "a gamma of 5 is too much", "rare_focal2", ">", "rare_focal5", f"34.0 against 32.2 AP, {FOCAL}"
      ),
      Claim(
        "where classes are less rare, it matters less: weights alone are as good within 2 points",
        "common_focal2", "==", "common_inverse", f"the control of the claims above; {NOTES}",
        margin=0.02,
      ),
    ),
    recipe=recipe or "quick",
    note="Digit scenes of 32x32 pixels, and a narrow U-Net from random weights. The paper's figures are "
    "of average precision in detection, and are given with the claims.",
  )  # fmt: skip
