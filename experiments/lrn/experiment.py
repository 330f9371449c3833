"""Local response normalization versus none: does it help at all?

Sources: AlexNet (2012, section 3.3) reports test errors on CIFAR-10 of 13 % without it and 11 %
with it, for a four-layer net. VGG (arXiv:1409.1556, section 4.1) finds no gain on ImageNet (29.6
and 29.7 % for A and A-LRN). CS231n's notes call its contribution minimal, if any. The net is
`convnet` with overlapping 3x3 pooling, and as in AlexNet the response norm follows the ReLU of the
first two blocks, with k=2, n=5, alpha=1e-4 and beta=0.75. Hyperparameters of arXiv:1512.03385.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import TRAINED, choose
from cnnlab.lab import Claim, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
ALEXNET = "Krizhevsky et al. 2012, section 3.3"
VGG = "arXiv:1409.1556, table 3 and section 4.1"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  net = {
    "model.pool_window": 3,
    "model.pool_fit": "pad",
    "model.head": "avgpool",
    "model.hidden": (),
  }
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, "model.features": (64, 128, 256), "optim.learning_rate": 0.02, **net},
    # At 40 epochs, the net with response norm leaves an eighth of the training images wrong.
    quick={"epochs": 80.0, "eval_every_epochs": 16.0, "model.features": (32, 64, 128), **net},
    tiny={"model.features": (4, 4), **net},
    rates=(0.01, 0.02, 0.05, 0.1),
    note="Our own hyperparameters: the AlexNet paper does not state those of its CIFAR-10 net.",
  )
  return Experiment(
    name="lrn",
    question="Does local response normalization give any real gain?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={norm: {"model.norm": norm} for norm in ("none", "lrn")},
    base="none",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim(
        "it gives no gain: the net without it is no worse", "none", "<=", "lrn", VGG, margin=0.01
      ),
      Claim("it lowers the error, as AlexNet found", "lrn", "<", "none", ALEXNET),
    ),
    paper={
      "none": Published(0.13, ALEXNET, "another four-layer net"),
      "lrn": Published(0.11, ALEXNET, "another four-layer net"),
    },
    recipe=chosen.name,
    note=chosen.note,
  )
