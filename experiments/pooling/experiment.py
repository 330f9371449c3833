"""Max versus average pooling between blocks, and FC layers versus an average-pool head.

Sources: CS231n's notes on pooling ("average pooling was often used historically but has recently
fallen out of favor compared to the max pooling operation"), GoogLeNet (arXiv:1409.4842, section 5:
an average-pool head improved top-1 accuracy by about 0.6 points). The net is `convnet`;
hyperparameters of arXiv:1512.03385.
"""

from __future__ import annotations

from cnnlab.lab import Claim, Experiment
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
NOTES = "CS231n lecture notes, convolutional networks, pooling layer"
GOOGLENET = "arXiv:1409.4842, section 5"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  net = {"model.norm": "batch", "model.convs_per_block": 2}
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, "model.features": (64, 128, 256), **net},
    quick={"epochs": 10.0, "model.features": (16, 32, 64), **net},
    tiny={"model.features": (4, 4), **net},
    note="Our own net and hyperparameters: the sources have no table.",
  )
  average_head = {"model.head": "avgpool", "model.hidden": ()}
  return Experiment(
    name="pooling",
    question="Is max pooling better than average pooling, and can averaging replace FC layers?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={
      "max": {"model.downsample": "max", **average_head},
      "avg": {"model.downsample": "avg", **average_head},
      "max_fc": {"model.downsample": "max", "model.head": "fc", "model.hidden": (128,)},
    },
    base="max",
    seeds=chosen.seeds,
    claims=(
      Claim("max pooling beats average pooling", "max", "<", "avg", NOTES),
      Claim(
        "an average-pool head replaces FC layers", "max", "<=", "max_fc", GOOGLENET, margin=0.01
      ),
      Claim(
        "an average-pool head needs fewer parameters", "max", "<", "max_fc", GOOGLENET, "parameters"
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )
