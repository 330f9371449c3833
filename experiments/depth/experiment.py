"""What depth costs: Deep Residual Learning (arXiv:1512.03385), Highway Networks (arXiv:1505.00387).

Plain nets, the same with residual connections, and with highway gates (which double a layer's
parameters), at a shallow and a deep size. Gates start at a bias of -4, as in the papers' CIFAR net of
50 layers; `_bias2` starts them at -2, as in their MNIST net. Published for plain and residual nets (section 4.2):
64,000 steps of SGD with momentum 0.9, batches of 128, rate 0.1 divided by 10 at half and three
quarters, weight decay 1e-4, flips and 4-pixel shifts. The highway papers' own CIFAR nets have other
widths (`highway19`, `highway32`): here the three kinds share depth, widths and recipe.
"""

from __future__ import annotations

from typing import Any

from cnnlab.lab.experiment import Claim, Experiment, Published
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
KINDS = ("plain", "resnet", "highway")
TABLE6 = "arXiv:1512.03385, table 6"
FIGURE6 = "arXiv:1512.03385, figure 6 and section 4.2"
ADDED = (
  "Gates at -4 were added after a first sweep, in which those at -2 had not trained 56 layers; other "
  "work shared the machine then, so that their times are too long."
)
HIGHWAY = "arXiv:1505.00387, section 3.1 and figure 1"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, '' for quick.

  Raises:
    KeyError: another recipe.
  """
  chosen = choose(
    recipe,
    quick={"epochs": 6.0, "model.width": 0.5},
    tiny={"model.width": 0.125},
    note="Plain and residual nets as published; the highway nets take their depths and widths.",
  )
  shallow, deep = (20, 44) if chosen.name == "tiny" else (20, 56)
  variants: dict[str, dict[str, Any]] = {}
  for depth in (shallow, deep):
    variants |= {f"{kind}{depth}": {"model.name": f"{kind}{depth}"} for kind in KINDS}
    gated = {"model.name": f"highway{depth}"}  # whose default is a bias of -2
    variants |= {
      f"highway{depth}": gated | {"model.gate_bias": -4.0},
      f"highway{depth}_bias2": gated,
    }
  plain, residual, highway = (f"{kind}{deep}" for kind in KINDS)
  published = {"resnet20": 0.0875, "resnet56": 0.0697}
  return Experiment(
    name="depth",
    question="Does a deeper plain net train worse, and do residual connections or gates mend it?",
    config="configs/cifar.py:resnet20",
    overrides=chosen.overrides,
    variants=variants,
    base=f"plain{shallow}",
    seeds=chosen.seeds,
    claims=(
      Claim("a deeper plain net is worse", plain, ">", f"plain{shallow}", FIGURE6),
      Claim(
        "it is worse on the training set as well, so it is not overfitting",
        plain, ">", f"plain{shallow}", FIGURE6, metric="train/loss",
      ),
      Claim("residual connections mend it", residual, "<", plain, FIGURE6),
      Claim("a deeper residual net is better", residual, "<", f"resnet{shallow}", TABLE6),
      Claim("highway gates mend it as well", highway, "<", plain, HIGHWAY),
    ),
    paper={net: Published(v, TABLE6) for net, v in published.items() if net in variants},
    recipe=chosen.name,
    note=chosen.note if chosen.at_full_size else f"{chosen.note} {ADDED}",
  )  # fmt: skip
