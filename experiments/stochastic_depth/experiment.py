"""Deep Networks with Stochastic Depth (arXiv:1603.09382): dropping residual blocks in training.

Variants: `constant` depth, and survival probabilities that decay linearly to p at the last block
(`linear_p`) or are p in all blocks (`uniform_p`). A linear decay to 0.5 keeps 75 % of the blocks on
average, so that `uniform_0.75` costs the same.

Published (section 4): ResNet-110, 500 epochs of SGD with Nesterov momentum 0.9, batches of 128,
learning rate 0.1 divided by 10 after one half and three quarters of the training, weight decay
1e-4, flips and 4-pixel shifts; the test error is that of the epoch with the lowest validation error
on 5,000 held-out images. Here all 50,000 images are used for training, and the test error is that
of the last epoch. Where the size changes, the paper's shortcuts pool and ours subsample (option A).
The claims are about nets that overfit: the quick recipe trains a ResNet-32 of half the width on
2,000 images until it knows them by heart.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import choose
from cnnlab.lab import Claim, Condition, Experiment, Published
from cnnlab.lab.variants import Variants

RECIPES = ("paper", "quick", "tiny")
TABLE1 = "arXiv:1603.09382, table 1, CIFAR-10+"
FIGURE8 = "arXiv:1603.09382, figure 8"
MASKED = (
  "Here dropped blocks are computed and masked. A separate figure shows the step time when they "
  "are skipped: it decreases with the number of blocks left."
)


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    # `skip` below does not compute dropped blocks; other recipes make no claim about time.
    paper={"epochs": 500.0, "optim.nesterov": True, "data.centering": "channel"},
    quick={
      "epochs": 100.0,
      "eval_every_epochs": 20.0,
      "data.train_examples": 2000,
      "model.width": 0.5,
      "optim.nesterov": True,
    },
    tiny={"model.width": 0.125, "model.blocks": 2},
    rates=(0.025, 0.05, 0.1, 0.2, 0.4),
    note="Last epoch of training on all 50,000 images; the paper chose the epoch by validation.",
  )
  skip = {"model.survival_skip": True} if chosen.at_full_size else {}
  variants: Variants = {"constant": {}}
  for schedule, survivals in (("linear", (0.8, 0.5, 0.2)), ("uniform", (0.75, 0.5))):
    for survival in survivals:
      dropping = {"model.survival": survival, "model.survival_schedule": schedule}
      variants[f"{schedule}_{survival}"] = {**dropping, **skip}
  claims: tuple[Claim, ...] = (
    Claim(
      "dropping blocks at random does not hurt",
      "linear_0.5", "<=", "constant", TABLE1, margin=0.01,
    ),
    Claim("dropping blocks at random lowers the error", "linear_0.5", "<", "constant", TABLE1),
    Claim(
      "a survival probability that decays with depth is better than a uniform one of equal mean",
      "linear_0.5", "<", "uniform_0.75", FIGURE8,
    ),
    Claim(
      "it is better than a uniform one of the same last value",
      "linear_0.5", "<", "uniform_0.5", FIGURE8,
    ),
    Claim(
      "the exact probability matters little: 0.8 is as good as 0.5",
      "linear_0.8", "==", "linear_0.5", FIGURE8, margin=0.01,
    ),
  )  # fmt: skip
  if chosen.at_full_size:
    claims += (
      Claim(
        "a training step takes less time if dropped blocks are skipped",
        "linear_0.5", "<", "constant", "arXiv:1603.09382, table 2 (a quarter less in the paper)",
        metric="ms_per_step",
      ),
    )  # fmt: skip
  return Experiment(
    name="stochastic_depth",
    question="Does dropping residual blocks at random in training hurt or help?",
    config=f"configs/cifar.py:{'resnet110' if chosen.at_full_size else 'resnet32'}",
    overrides=chosen.overrides,
    variants=variants,
    base="constant",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(
      Condition(
        "the net of constant depth overfits", "trainset/error", "<=", 0.02, variants=("constant",)
      ),
    ),
    claims=claims,
    paper={
      "constant": Published(0.0641, TABLE1, "ResNet-110"),
      "linear_0.5": Published(0.0525, TABLE1, "ResNet-110"),
    },
    recipe=chosen.name,
    note=chosen.note if chosen.at_full_size else f"{chosen.note} {MASKED}",
  )
