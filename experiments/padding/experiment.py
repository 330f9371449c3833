"""Zero padding that keeps the size versus valid convolutions.

Source: CS231n's notes: without padding "the size of the volumes would reduce by a small amount
after each CONV, and the information at the borders would be washed away too quickly". The net is
`convnet` with an average-pool head, so that both variants have the same number of parameters. As maps
shrink without padding, a net without it also costs less; `valid_wide` has as many multiply-adds as the
padded net, by wider layers. Hyperparameters of arXiv:1512.03385.
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
    quick={"model.features": (24, 48), **net},
    tiny={"model.features": (4, 4), **net},
    note="Our own net and hyperparameters: the source has no table.",
  )
  return Experiment(
    name="padding",
    question="Does zero padding that keeps the size beat valid convolutions?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={
      "same": {"model.padding": "same"},
      "valid": {"model.padding": "valid"},
      "valid_wide": {"model.padding": "valid", "model.width": 1.8},
    },
    base="valid",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim("padding improves performance", "same", "<", "valid", NOTES),
      Claim(
        "at equal cost, too",
        "same", "<", "valid_wide", NOTES, equal="multiply_adds", tolerance=0.15,
      ),
      Claim("it adds no parameters", "same", "<=", "valid", NOTES, "parameters"),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
