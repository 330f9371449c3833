"""A feature pyramid against single maps with all sizes of anchors, by the size of objects.

Source: arXiv:1612.03144, table 2: Fast R-CNN with a ResNet-50 on COCO has 33.9 AP on a pyramid, 31.9 on
conv4 and 28.8 on conv5; of small objects 17.8, 15.7 and 11.9; and 24.9 on a pyramid without the
top-down path. The detector here is RetinaNet, which sees the same sizes and shapes of anchors in every
variant: on one map all are at each of its positions. `fine` and `coarse` are maps of the encoder with
strides of 4 and 16 pixels.
"""

from __future__ import annotations

import dataclasses

from cnnlab.experiments.detection import LARGE, METRIC, SMALL, TRAINED, choose, page
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.experiment import Published

RECIPES = ("paper", "quick", "scenes", "tiny")
TABLE = "arXiv:1612.03144, table 2"
FINE, COARSE = 4, 16  # strides of the first and the third stage of a ResNet-18


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(recipe, "The paper's figures are for Fast R-CNN with a ResNet-50 on COCO.")
  return Experiment(
    name="fpn",
    question="Does a feature pyramid find objects better than a single map, and of which sizes?",
    config=page(chosen.name),
    overrides=chosen.overrides,
    variants={
      "pyramid": {},
      "bottom_up": {"model.top_down": False},
      "fine": {"model.one_map": FINE},
      "coarse": {"model.one_map": COARSE},
    },
    base="pyramid",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    regime=(dataclasses.replace(TRAINED, variants=("pyramid",)),),
    paper={
      "pyramid": Published(0.339, TABLE),
      "bottom_up": Published(0.249, TABLE),
      "fine": Published(0.319, TABLE),
      "coarse": Published(0.288, TABLE),
    },
    claims=(
      Claim("a pyramid is better than its coarse map", "pyramid", ">", "coarse", f"33.9 against 28.8 AP, {TABLE}"),
      Claim(
        "on small objects, too", "pyramid", ">", "coarse", f"17.8 against 11.9 AP, {TABLE}", SMALL
      ),
      Claim("it is better than its fine map", "pyramid", ">", "fine", f"33.9 against 31.9 AP, {TABLE}"),
      Claim(
        "on large objects, too", "pyramid", ">", "fine", f"45.8 against 45.5 AP, {TABLE}", LARGE
      ),
      Claim("the top-down path helps", "pyramid", ">", "bottom_up", f"33.9 against 24.9 AP, {TABLE}"),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
