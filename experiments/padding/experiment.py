"""Zero padding that keeps the size versus valid convolutions.

Source: CS231n's notes: without padding "the size of the volumes would reduce by a small amount
after each CONV, and the information at the borders would be washed away too quickly". The net is
`convnet` with an average-pool head, so that both variants have the same number of parameters;
hyperparameters of arXiv:1512.03385.
"""

from __future__ import annotations

from cnnlab.lab import Claim, Experiment
from experiments.recipes import choose

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
    quick={"epochs": 10.0, "model.features": (24, 48), **net},
    tiny={"model.features": (4, 4), **net},
    note="Our own net and hyperparameters: the source has no table.",
  )
  return Experiment(
    name="padding",
    question="Does zero padding that keeps the size beat valid convolutions?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={padding: {"model.padding": padding} for padding in ("same", "valid")},
    base="valid",
    seeds=chosen.seeds,
    claims=(
      Claim("padding improves performance", "same", "<", "valid", NOTES),
      Claim("it adds no parameters", "same", "<=", "valid", NOTES, "parameters"),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )
