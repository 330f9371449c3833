"""A plain policy network and a residual one with the same convolutions.

Sources: AlphaGo Zero (doi:10.1038/nature24270, figure 4) replaced the plain net of its predecessor by
a residual one, which predicted moves better; residual nets are arXiv:1512.03385. Here both have one
5x5 convolution and twelve 3x3, the same parameters and multiply-adds, with
batch norm and without; only the shortcuts differ.
"""

from __future__ import annotations

from cnnlab.experiments.moves import LEARNED, PAGE, choose
from cnnlab.lab import Claim, Experiment, Tuning

RECIPES = ("paper", "quick", "tiny")
ZERO = "doi:10.1038/nature24270, figure 4"
RESNET = "arXiv:1512.03385, section 4.2"
# Without a norm, thirteen plain layers learn at lower rates only.
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BLOCKS = {"paper": 6, "quick": 6, "tiny": 1}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(recipe, quick={"model.filters": 24})
  blocks = BLOCKS[chosen.name]
  nets = {
    "plain": {"model.name": "alphago", "model.depth": 1 + 2 * blocks},
    "residual": {"model.name": "policy_resnet", "model.blocks": blocks},
  }
  variants = {
    f"{net}_{norm}": {**options, "model.norm": norm}
    for norm in ("none", "batch")
    for net, options in nets.items()
  }
  return Experiment(
    name="go_residual",
    question="Do shortcuts help a policy network of Go at equal cost?",
    config=PAGE,
    overrides=chosen.overrides,
    variants=variants,
    base="plain_none",
    seeds=chosen.seeds,
    tuning=chosen.tuning and Tuning({"optim.learning_rate": RATES}),
    regime=(LEARNED,),
    claims=(
      Claim(
        "shortcuts help", "residual_batch", "<", "plain_batch", ZERO, equal="multiply_adds"
      ),
      Claim(
        "they help without batch norm too",
        "residual_none", "<", "plain_none", RESNET, equal="multiply_adds",
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
