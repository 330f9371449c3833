"""Normalization and batch size: none, batch, layer, instance, group, weight and switchable norm.

The published comparisons (arXiv:1803.08494, table 2; arXiv:1806.10779, table of batch sizes) are
for ResNet-50 on ImageNet, by batch size per GPU. Here a small CIFAR ResNet is trained on one device
with batches of 4, 16 and 64 for the same number of epochs. As in both papers, the learning rate is
proportional to the batch size; the quick recipe tunes the factor for each norm and batch. That batch
norm speeds up training is a claim about equal numbers of steps: `batch_64` and `none_64` have them.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import choose
from cnnlab.lab import Claim, Condition, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
NORMS = ("none", "batch", "layer", "instance", "group", "weight", "switchable")
BATCHES = (4, 16, 64)
SENSITIVE = ("batch", "group", "switchable")  # the norms that claims compare at several batches
BATCH_NORM = "arXiv:1502.03167, section 4.2.1"
GROUP_NORM = "arXiv:1803.08494, table 2"
SWITCHABLE = "arXiv:1806.10779, comparison of batch sizes"
# Top-1 error of ResNet-50 on ImageNet in %, by images per GPU.
IMAGENET = {
  "batch_4": (27.3, SWITCHABLE), "batch_16": (23.7, SWITCHABLE),
  "group_4": (24.2, GROUP_NORM), "group_16": (24.2, GROUP_NORM),
  "switchable_4": (24.1, SWITCHABLE), "switchable_16": (23.3, SWITCHABLE),
}  # fmt: skip


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  rate = {"optim.reference_batch": 64, "optim.learning_rate": 0.05}
  chosen = choose(
    recipe,
    paper={"epochs": 100.0, **rate},
    quick={
      "epochs": 20.0,
      "eval_every_epochs": 5.0,
      "model.blocks": 1,
      "model.width": 0.75,
      "optim.reference_batch": 64,
    },
    tiny={"model.blocks": 1, "model.width": 0.25, "data.train_examples": 100, **rate},
    rates=(0.02, 0.05, 0.15),
    note="Our own hyperparameters, ResNet-20 on CIFAR-10; the papers' figures are for ImageNet.",
  )
  return Experiment(
    name="normalization",
    question="Which normalization trains best, and how much does it depend on large batches?",
    config="configs/cifar.py:resnet20",
    overrides=chosen.overrides,
    variants={
      f"{norm}_{batch}": {"model.norm": norm, "batch_size": batch}
      for norm in NORMS
      for batch in (BATCHES if chosen.name != "tiny" or norm in SENSITIVE else (64,))
    },
    base="batch_64",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(
      Condition("the nets have learned", "trainset/error", "<=", 0.5),
    ),
    claims=(
      Claim(
        "batch norm speeds up optimization: a lower training loss after as many steps, on average",
        "batch_64", "<", "none_64", BATCH_NORM, metric="train/loss@area",
      ),
      Claim(
        "layer norm speeds it up, too",
        "layer_64", "<", "none_64", BATCH_NORM, metric="train/loss@area",
      ),
      Claim("batch norm suffers from small batches", "batch_4", ">", "batch_64", GROUP_NORM),
      Claim(
        "group norm does not suffer from small batches",
        "group_4", "<=", "group_64", GROUP_NORM, margin=0.01,
      ),
      Claim(
        "switchable norm is as good as batch norm at large batches",
        "switchable_64", "<=", "batch_64", SWITCHABLE, margin=0.01,
      ),
      Claim(
        "switchable norm is better than batch norm at small batches",
        "switchable_4", "<", "batch_4", SWITCHABLE,
      ),
    ),
    paper={
      label: Published(value / 100, source, "ResNet-50 on ImageNet, images per GPU")
      for label, (value, source) in IMAGENET.items()
    },
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
