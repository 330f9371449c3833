"""Scores of the coarsest map alone, with those of finer maps, and a U-Net: skips sharpen.

Source: arXiv:1411.4038, table 2 and section 4.2: on PASCAL VOC 2011, FCN-16s has 3 points more mean IoU
than FCN-32s, and FCN-8s a little more; the lecture notes on segmentation and on U-Net. All variants
have the same ResNet-18 as encoder, so that they differ in what they make of its maps. Boundaries are
measured by the boundary F-score.
"""

from __future__ import annotations

from cnnlab.experiments.segmentation import BOUNDARY, METRIC, TRAINED, choose, page
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.experiment import Published

RECIPES = ("paper", "quick", "scenes", "tiny")
FCN = "arXiv:1411.4038, table 2"
NOTES = "lecture notes on segmentation, U-Net"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    quick={"model.width": 0.25},
    tiny={"model.width": 0.25, "model.blocks": 1},
    note="The paper's figures are for VGG-16 trained on ImageNet first, on PASCAL VOC 2011.",
  )
  encoder = "resnet20" if chosen.name == "tiny" else "resnet18"
  decoders = {"fcn32s": "fcn32s", "fcn16s": "fcn16s", "fcn8s": "fcn8s", "unet": "unet"}
  return Experiment(
    name="fcn_skips",
    question="Do skip connections from finer maps sharpen segmentation?",
    config=page(chosen.name, f"fcn32s_{encoder}"),
    overrides=chosen.overrides,
    variants={label: {"model.name": f"{name}_{encoder}"} for label, name in decoders.items()},
    base="fcn32s",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    paper={
      "fcn32s": Published(0.594, FCN),
      "fcn16s": Published(0.624, FCN),
      "fcn8s": Published(0.627, FCN),
    },
    claims=(
      Claim("the scores of a finer map improve segmentation", "fcn16s", ">", "fcn32s", FCN),
      Claim("those of a map finer still improve it again", "fcn8s", ">", "fcn16s", FCN),
      Claim("a U-Net is better than summed scores", "unet", ">", "fcn8s", NOTES),
      Claim(
        "skips sharpen: the boundaries of FCN-8s are better",
        "fcn8s", ">", "fcn32s", "arXiv:1411.4038, figure 4", BOUNDARY,
      ),
      Claim("those of a U-Net are better still", "unet", ">", "fcn8s", NOTES, BOUNDARY),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
