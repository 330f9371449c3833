"""Going Deeper with Convolutions (arXiv:1409.4842): naive against dimension-reducing modules.

GoogLeNet with figure 2's two modules, with batch norm, without auxiliary classifiers, on a stem for
small images. The paper gives no figures for the naive module: it is ruled out for its cost
(section 4). The recipe is that of the CIFAR ResNets (arXiv:1512.03385, section 4.2).
"""

from __future__ import annotations

from cnnlab.lab.experiment import Claim, Experiment
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
SOURCE = "arXiv:1409.4842, section 4 and figure 2"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, '' for quick.

  Raises:
    KeyError: another recipe.
  """
  net = {"model.stem": "cifar", "model.auxiliary": False}
  chosen = choose(
    recipe,
    paper={"epochs": 164.0, **net},
    quick={"epochs": 5.0, "model.width": 0.125, **net},
    tiny={"model.width": 0.03, "model.norm": "none", "model.modules": ("3a", "4a", "5b"), **net},
    note="Our own recipe: the paper trained no naive net, and none on CIFAR-10.",
  )
  return Experiment(
    name="inception",
    question="Do dimension-reducing inception modules cost far less than naive ones, at no loss?",
    config="configs/cifar.py:googlenet",
    overrides=chosen.overrides,
    variants={form: {"model.inception": form} for form in ("naive", "reduced")},
    base="naive",
    seeds=chosen.seeds,
    claims=(
      Claim("it takes fewer multiply-adds", "reduced", "<", "naive", SOURCE, "multiply_adds"),
      Claim("it has fewer parameters", "reduced", "<", "naive", SOURCE, "parameters"),
      Claim("the error is no higher", "reduced", "<=", "naive", SOURCE, margin=0.01),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )
