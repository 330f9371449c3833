"""Deep Residual Learning (arXiv:1512.03385) and Highway Networks (arXiv:1505.00387) by depth.

Plain nets, the same nets with residual connections, and with highway gates (which double the
parameters of a layer), each at two depths. The bias of the gates is initialized to -4, as in the
highway papers' 50-layer CIFAR net. Published for plain and residual nets (section 4.2): 64,000 steps
of SGD with momentum 0.9, batches of 128, learning rate 0.1 divided by 10 after one half and three
quarters of the training, weight decay 1e-4, flips and 4-pixel shifts. The CIFAR nets of the highway
papers have other widths (`highway19`, `highway32`); here all nets of one depth share widths and
hyperparameters. All nets have batch norm.

That connections mend the deep net means that it then fits its training set as well as the shallow
one: the claims are about training sets as well as about test errors. In the quick recipe each net
therefore has the learning rate at which it fits its training set best, after a warm-up of two epochs.
Rates chosen on a validation part are no test of these claims: the plain net of 20 layers then gets a
high rate that keeps a quarter of its training set wrong, which costs it no test error on few images.
"""

from __future__ import annotations

from dataclasses import replace

from cnnlab.experiments.recipes import choose
from cnnlab.lab import Claim, Condition, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
KINDS = ("plain", "resnet", "highway")
TABLE6 = "arXiv:1512.03385, table 6"
FIGURE6 = "arXiv:1512.03385, figure 6 and section 4.2"
HIGHWAY = "arXiv:1505.00387, section 3.1 and figure 1"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  gates = {"model.gate_bias": -4.0}
  chosen = choose(
    recipe,
    quick={"model.width": 0.5, "schedule.warmup_epochs": 2.0},
    tiny={"model.width": 0.125},
    rates=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    note="Plain and residual nets as published; the highway nets have their depths and widths.",
  )
  shallow, deep = (20, 44) if chosen.name == "tiny" else (20, 56)
  variants = {
    f"{kind}{depth}": {"model.name": f"{kind}{depth}", **(gates if kind == "highway" else {})}
    for depth in (shallow, deep)
    for kind in KINDS
  }
  plain, residual, highway = (f"{kind}{deep}" for kind in KINDS)
  published = {"resnet20": 0.0875, "resnet56": 0.0697}
  fit = "trainset/cross_entropy"
  return Experiment(
    name="depth",
    question="Is a deeper plain net worse, and do residual connections or gates prevent that?",
    config="configs/cifar.py:resnet20",
    overrides=chosen.overrides,
    variants=variants,
    base=f"plain{shallow}",
    seeds=chosen.seeds,
    tuning=chosen.tuning and replace(chosen.tuning, metric=fit),
    regime=(
      Condition("the net has learned, if badly", "trainset/error", "<=", 0.7),
      Condition(
        "the shallow net fits its training set", "trainset/error", "<=", 0.1, (f"plain{shallow}",)
      ),
    ),
    claims=(
      Claim("a deeper plain net is worse", plain, ">", f"plain{shallow}", FIGURE6),
      Claim(
        "it is also worse on its training set, so the cause is not overfitting",
        plain, ">", f"plain{shallow}", FIGURE6, metric=fit,
      ),
      Claim(
        "residual connections mend it: the deep net fits its training set as well as a shallow one",
        residual, "<=", f"plain{shallow}", FIGURE6, metric=fit, margin=0.02,
      ),
      Claim(
        "with them, the deep net is as good as the shallow plain one",
        residual, "<=", f"plain{shallow}", FIGURE6, margin=0.01,
      ),
      Claim("a deeper residual net is better", residual, "<", f"resnet{shallow}", TABLE6),
      Claim(
        "highway gates mend it, too",
        highway, "<=", f"plain{shallow}", HIGHWAY, metric=fit, margin=0.02,
      ),
    ),
    paper={net: Published(v, TABLE6) for net, v in published.items() if net in variants},
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
