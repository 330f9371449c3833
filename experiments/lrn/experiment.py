"""Local response normalisation against none: does it help at all?

Sources: AlexNet (2012, section 3.3) has 13 % and 11 % test error on CIFAR-10 for a four-layer net
without and with it; VGG (arXiv:1409.1556, section 4.1) sees no gain on ImageNet (29.6 and 29.7 %
for A and A-LRN), and CS231n's notes say that its contribution is minimal, if any. The grammar net with
overlapping 3x3 pooling; recipe of arXiv:1512.03385 at a fifth of its rate.
"""

from __future__ import annotations

from cnnlab.lab.experiment import Claim, Experiment, Published
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
ALEXNET = "Krizhevsky et al. 2012, section 3.3"
VGG = "arXiv:1409.1556, table 3 and section 4.1"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, '' for quick.

  Raises:
    KeyError: another recipe.
  """
  net = {
    "model.pool_window": 3,
    "model.pool_fit": "pad",
    "model.head": "avgpool",
    "model.hidden": (),
    "optim.learning_rate": 0.02,
  }
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, "model.features": (64, 128, 256), **net},
    quick={"epochs": 10.0, "model.features": (16, 32, 64), **net},
    tiny={"model.features": (4, 4), **net},
    note="Our own recipe: AlexNet's paper does not state that of its CIFAR-10 net.",
  )
  return Experiment(
    name="lrn",
    question="Does local response normalisation give any real gain?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={norm: {"model.norm": norm} for norm in ("none", "lrn")},
    base="none",
    seeds=chosen.seeds,
    claims=(
      Claim("it gives no gain: without it is no worse", "none", "<=", "lrn", VGG, margin=0.01),
      Claim("it lowers the error, as AlexNet found", "lrn", "<", "none", ALEXNET),
    ),
    paper={
      "none": Published(0.13, ALEXNET, "another four-layer net"),
      "lrn": Published(0.11, ALEXNET, "another four-layer net"),
    },
    recipe=chosen.name,
    note=chosen.note,
  )
