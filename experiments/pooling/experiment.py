"""Max versus average pooling between blocks, and FC layers versus an average-pool head.

Sources: CS231n's notes on pooling ("average pooling was often used historically but has recently
fallen out of favor compared to the max pooling operation"), GoogLeNet (arXiv:1409.4842, section 5:
an average-pool head improved top-1 accuracy by about 0.6 points). The notes also say that windows of
2 or 3 are usual, and that larger ones lose too much. The net is `convnet`; hyperparameters of
arXiv:1512.03385.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import TRAINED, choose
from cnnlab.lab import Claim, Experiment

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
    quick={"model.features": (32, 64), **net},
    tiny={"model.features": (4, 4), **net},
    rates=(0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    note="Our own net and hyperparameters: the sources have no table.",
  )
  average_head = {"model.head": "avgpool", "model.hidden": ()}
  windows = {
    f"max{window}": {
      "model.downsample": "max",
      "model.pool_window": window,
      "model.pool_fit": "pad",
    }
    for window in (3, 5)
  }
  return Experiment(
    name="pooling",
    question="Is max pooling better than average pooling, and can averaging replace FC layers?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={
      "max": {"model.downsample": "max", **average_head},
      "avg": {"model.downsample": "avg", **average_head},
      "max_fc": {"model.downsample": "max", "model.head": "fc", "model.hidden": (128,)},
      **{label: {**window, **average_head} for label, window in windows.items()},
    },
    base="max",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim("max pooling beats average pooling", "max", "<", "avg", NOTES),
      Claim(
        "an average-pool head replaces FC layers", "max", "<=", "max_fc", GOOGLENET, margin=0.01
      ),
      Claim(
        "an average-pool head needs fewer parameters", "max", "<", "max_fc", GOOGLENET, "parameters"
      ),
      Claim("windows over 3 lose too much", "max5", ">", "max3", NOTES),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )
