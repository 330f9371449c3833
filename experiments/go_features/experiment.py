"""What the input planes bring: stones alone, when they were played, their liberties, all 48.

Source: Silver et al. (doi:10.1038/nature16961), extended data table 3: with 192 filters and one
symmetry, 4, 12, 20 and 48 planes predict 47.6, 54.7, 54.7 and 55.4 % of the moves. (The 57.0 % of
the text is a net of 256 filters and an average over eight symmetries, 55.7 % one of 192 filters with
12 planes and that average.) Only the planes that the network sees differ; illegal moves are left out
for all.
"""

from __future__ import annotations

from cnnlab.experiments.moves import LEARNED, PAGE, TABLE3, choose
from cnnlab.lab import Claim, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
PLANES = {"stones": 4, "turns": 12, "liberties": 20, "all": 48}
ACCURACY = {"stones": 0.476, "turns": 0.547, "liberties": 0.547, "all": 0.554}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(recipe, quick={"model.depth": 6}, tiny={"model.depth": 2})
  return Experiment(
    name="go_features",
    question="Which input planes does a policy network of Go need?",
    config=PAGE,
    overrides=chosen.overrides,
    variants={label: {"task.planes": planes} for label, planes in PLANES.items()},
    base="stones",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(LEARNED,),
    claims=(
      Claim(
        "when the stones were played matters", "turns", "<", "stones", f"54.7 against 47.6 %, {TABLE3}"
      ),
      Claim(
        "liberties add nothing to it, within a point",
        "liberties", "==", "turns", f"54.7 against 54.7 %, {TABLE3}", margin=0.01,
      ),
      Claim(
        "captures, self-atari and ladders add to it",
        "all", "<", "liberties", f"55.4 against 54.7 %, {TABLE3}",
      ),
    ),
    paper={label: Published(round(1 - value, 3), TABLE3) for label, value in ACCURACY.items()},
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
