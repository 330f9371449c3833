"""Focal loss, plain and weighted cross-entropy, and a balanced sample of anchors, in RetinaNet.

Sources: arXiv:1708.02002, tables 1a, 1b and 1d: on COCO a gamma of 2 with an alpha of 0.25 has 34.0 AP,
3.8 points more than cross-entropy (an alpha of 0.5 weighs positives and negatives alike) and 2.9 more than
the best weighted one; it is also better than training on a selection of the anchors (OHEM); the
lecture notes: without it, the many easy background anchors dominate the loss. Here the anchors are as
rare as they are: about one of a thousand is an object's. Every loss is divided by the number of
positive anchors, and scores start at the paper's prior.
"""

from __future__ import annotations

import dataclasses

from cnnlab.experiments.detection import METRIC, TRAINED, choose, page
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.experiment import Published
from cnnlab.lab.variants import Overrides

RECIPES = ("paper", "quick", "scenes", "tiny")
FOCAL = "arXiv:1708.02002, table 1b"
BALANCED = "arXiv:1708.02002, table 1a"
NOTES = "lecture notes on detection, focal loss"
# gamma -> the alpha that is best with it, and the AP (table 1b).
PUBLISHED = {0.5: (0.5, 0.329), 1.0: (0.25, 0.337), 2.0: (0.25, 0.340), 5.0: (0.25, 0.322)}
SAMPLED = {"paper": 256, "quick": 256, "scenes": 64, "tiny": 32}  # anchors of an image


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(recipe, "The paper's figures are for a ResNet-50 on COCO.")
  plain: Overrides = {"task.gamma": 0.0, "task.alpha": 0.0}
  return Experiment(
    name="detection_focal",
    question="Is focal loss better than cross-entropy where most anchors are background?",
    config=page(chosen.name),
    overrides=chosen.overrides,
    variants={
      "cross_entropy": plain,
      "weighted": {**plain, "task.alpha": 0.75},
      "sampled": {**plain, "task.anchor_sample": SAMPLED[chosen.name]},
      **{
        f"focal{gamma:g}": {"task.gamma": gamma, "task.alpha": alpha}
        for gamma, (alpha, _) in PUBLISHED.items()
      },
    },
    base="cross_entropy",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    # Another loss may fail to learn, which is what the claims are about.
    regime=(dataclasses.replace(TRAINED, variants=("focal2",)),),
    paper={
      "cross_entropy": Published(0.302, BALANCED),
      "weighted": Published(0.311, BALANCED),
      **{f"focal{gamma:g}": Published(ap, FOCAL) for gamma, (_, ap) in PUBLISHED.items()},
    },
    claims=(
      Claim(
        "focal loss is better than cross-entropy",
        "focal2", ">", "cross_entropy", f"34.0 against 30.2 AP, {FOCAL} and a; {NOTES}",
      ),
      Claim(
        "it is better than weights of positives and negatives",
        "focal2", ">", "weighted", f"34.0 against 31.1 AP, {FOCAL} and a",
      ),
      Claim(
        "it is better than a balanced sample of the anchors",
        "focal2", ">", "sampled", "36.0 against 32.8 AP of the best OHEM, arXiv:1708.02002, table 1d",
      ),
      Claim(
        "a gamma of 2 is better than 0.5",
        "focal2", ">", "focal0.5", f"34.0 against 32.9 AP, {FOCAL}",
      ),
      Claim("a gamma of 5 is too much", "focal2", ">", "focal5", f"34.0 against 32.2 AP, {FOCAL}"),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
