"""The number of filters of AlphaGo's policy network.

Source: Silver et al. (doi:10.1038/nature16961), extended data table 3: with 128, 192 and 256 filters,
48 planes and one symmetry, 54.6, 55.4 and 55.9 % of the moves are predicted, and an evaluation takes
2.8, 4.8 and 7.1 ms. In the quick recipe the widths are an eighth of these.
"""

from __future__ import annotations

from cnnlab.experiments.moves import LEARNED, PAGE, TABLE3, choose
from cnnlab.lab import Claim, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
WIDTHS = (64, 128, 192, 256)
ACCURACY = {128: 0.546, 192: 0.554, 256: 0.559}
REDUCTION = {"paper": 1, "quick": 8, "tiny": 32}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(recipe, quick={"model.depth": 6}, tiny={"model.depth": 2})
  filters = {width: width // REDUCTION[chosen.name] for width in WIDTHS}
  label = {width: f"k{count}" for width, count in filters.items()}
  return Experiment(
    name="go_width",
    question="How much does a policy network of Go gain by its width?",
    config=PAGE,
    overrides=chosen.overrides,
    variants={label[width]: {"model.filters": count} for width, count in filters.items()},
    base=label[64],
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(LEARNED,),
    claims=tuple(
      Claim(
        f"{wide / narrow:.3g} times the filters predict more moves",
        label[wide], "<", label[narrow],
        f"{100 * ACCURACY[wide]:.1f} against {100 * ACCURACY[narrow]:.1f} %, {TABLE3}",
      )
      for narrow, wide in ((128, 192), (192, 256), (128, 256))
    ),
    paper={label[w]: Published(round(1 - value, 3), TABLE3) for w, value in ACCURACY.items()},
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
