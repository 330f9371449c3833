"""Going Deeper with Convolutions (arXiv:1409.4842): naive versus dimension-reducing modules.

GoogLeNet with either of the two modules of figure 2, with batch norm, a stem for small images, and
no auxiliary classifiers. The paper rejects the naive module because of its cost (section 4) and
gives no figures for it. Hyperparameters of the CIFAR ResNets (arXiv:1512.03385, section 4.2).

As on ImageNet, the nets of the quick recipe are not to overfit: they see 16,000 images, flipped and
shifted. On 4,000 images without augmentation, naive modules err least on a validation part at a rate
that keeps a sixth of the training set wrong, while reduced ones know it by heart.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import AUGMENTED, LEARNED, choose
from cnnlab.lab import Claim, Experiment

RECIPES = ("paper", "quick", "tiny")
SOURCE = "arXiv:1409.4842, section 4 and figure 2"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  net = {"model.stem": "cifar", "model.auxiliary": False}
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, **net},
    quick={
      **AUGMENTED,
      "model.width": 0.125,
      "model.modules": ("3a", "3b", "4a", "4b", "5a"),
      **net,
    },
    tiny={"model.width": 0.03, "model.norm": "none", "model.modules": ("3a", "4a", "5b"), **net},
    rates=(0.02, 0.06, 0.2, 0.6),
    note="Our own hyperparameters: the paper trains no naive net, and no net on CIFAR-10.",
  )
  return Experiment(
    name="inception",
    question="Do dimension-reducing inception modules cost far less than naive ones, without loss?",
    config="configs/cifar.py:googlenet",
    overrides=chosen.overrides,
    variants={form: {"model.inception": form} for form in ("naive", "reduced")},
    base="naive",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(LEARNED,),
    claims=(
      Claim(
        "it takes at most half of the multiply-adds",
        "reduced", "<=", "naive", SOURCE, metric="multiply_adds", factor=0.5,
      ),
      Claim(
        "it has at most half of the parameters",
        "reduced", "<=", "naive", SOURCE, metric="parameters", factor=0.5,
      ),
      Claim("the error is no higher", "reduced", "<=", "naive", SOURCE, margin=0.01),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
