"""Small versus large strides.

Source: CS231n's notes: "smaller strides work better in practice. Additionally [...] stride 1 allows us
to leave all spatial down-sampling to the POOL layers". The net is `convnet` with two blocks: with
convolutions of stride 1 and pooling of stride 2 after each block (`pool2`), or with a stride of 2 or 4
in the last convolution of each block. A stride makes layers cheaper; `stride2_wide` spends that on
width, so that it costs as much as `pool2`. Hyperparameters of arXiv:1512.03385.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import TRAINED, choose
from cnnlab.lab import Claim, Experiment

RECIPES = ("paper", "quick", "tiny")
NOTES = "CS231n lecture notes, convolutional networks, layer sizing patterns"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  net = {
    "model.norm": "batch",
    "model.convs_per_block": 2,
    "model.head": "avgpool",
    "model.hidden": (),
  }
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, "model.features": (64, 128), **net},
    quick={"model.features": (32, 64), **net},
    tiny={"model.features": (4, 4), **net},
    note="Our own net and hyperparameters: the source has no table.",
  )
  return Experiment(
    name="strides",
    question="Do small strides work better than large ones?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={
      "pool2": {"model.downsample": "max"},
      "stride2": {"model.downsample": "stride"},
      "stride2_wide": {"model.downsample": "stride", "model.width": 1.55},
      "stride4": {"model.downsample": "stride", "model.pool_stride": 4},
    },
    base="pool2",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim("a stride of 2 is better than one of 4", "stride2", "<", "stride4", NOTES),
      Claim(
        "stride 1 with pooling is better than convolutions of stride 2",
        "pool2", "<", "stride2", NOTES,
      ),
      Claim(
        "at equal cost, too",
        "pool2", "<", "stride2_wide", NOTES, equal="multiply_adds", tolerance=0.15,
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
