"""Deep Residual Learning (arXiv:1512.03385) and Highway Networks (arXiv:1505.00387) by depth.

Plain nets, the same nets with residual connections, and with highway gates (which double the
parameters of a layer), each at two depths. The bias of the gates is initialized to -4, as in the
highway papers' 50-layer CIFAR net; in `_bias2`, to -2, as in their MNIST net. Published for plain
and residual nets (section 4.2): 64,000 steps of SGD with momentum 0.9, batches of 128, learning
rate 0.1 divided by 10 after one half and three quarters of the training, weight decay 1e-4, flips
and 4-pixel shifts. The CIFAR nets of the highway papers have other widths (`highway19`,
`highway32`); here all nets of one depth share widths and hyperparameters.
"""

from __future__ import annotations

from cnnlab.lab import Claim, Experiment, Published
from cnnlab.lab.variants import Variants
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
KINDS = ("plain", "resnet", "highway")
TABLE6 = "arXiv:1512.03385, table 6"
FIGURE6 = "arXiv:1512.03385, figure 6 and section 4.2"
ADDED = (
  "Gates with bias -4 were added after a first sweep, in which 56 layers with bias -2 did not "
  "train. Other programs used the machine at that time, so the training times of these nets are "
  "too long."
)
HIGHWAY = "arXiv:1505.00387, section 3.1 and figure 1"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    quick={"epochs": 6.0, "model.width": 0.5},
    tiny={"model.width": 0.125},
    note="Plain and residual nets as published; the highway nets have their depths and widths.",
  )
  shallow, deep = (20, 44) if chosen.name == "tiny" else (20, 56)
  variants: Variants = {}
  for depth in (shallow, deep):
    variants |= {f"{kind}{depth}": {"model.name": f"{kind}{depth}"} for kind in KINDS}
    gated = {"model.name": f"highway{depth}"}  # the default bias is -2
    variants |= {
      f"highway{depth}": gated | {"model.gate_bias": -4.0},
      f"highway{depth}_bias2": gated,
    }
  plain, residual, highway = (f"{kind}{deep}" for kind in KINDS)
  published = {"resnet20": 0.0875, "resnet56": 0.0697}
  return Experiment(
    name="depth",
    question="Is a deeper plain net worse, and do residual connections or gates prevent that?",
    config="configs/cifar.py:resnet20",
    overrides=chosen.overrides,
    variants=variants,
    base=f"plain{shallow}",
    seeds=chosen.seeds,
    claims=(
      Claim("a deeper plain net is worse", plain, ">", f"plain{shallow}", FIGURE6),
      Claim(
        "it is also worse on the training set, so the cause is not overfitting",
        plain, ">", f"plain{shallow}", FIGURE6, metric="train/loss",
      ),
      Claim("residual connections prevent this", residual, "<", plain, FIGURE6),
      Claim("a deeper residual net is better", residual, "<", f"resnet{shallow}", TABLE6),
      Claim("highway gates also prevent this", highway, "<", plain, HIGHWAY),
    ),
    paper={net: Published(v, TABLE6) for net, v in published.items() if net in variants},
    recipe=chosen.name,
    note=chosen.note if chosen.at_full_size else f"{chosen.note} {ADDED}",
  )  # fmt: skip
