"""Normalization and batch size: none, batch, layer, instance, group, weight and switchable norm.

The published comparisons (arXiv:1803.08494, table 2; arXiv:1806.10779, table of batch sizes) are
for ResNet-50 on ImageNet, by batch size per GPU. Here a small CIFAR ResNet is trained on one device
for the same number of epochs: with batches of 64 for each norm, and of 2 and 16 for those that claims
compare. As in both papers, the learning rate is proportional to the batch size; the quick recipe tunes
the factor for each norm and batch. That batch norm speeds up training is a claim about equal numbers of
steps: `batch_64` and `none_64` have them.

As on ImageNet, the nets of the quick recipe are not to overfit: they see 16,000 images, flipped and
shifted. On 4,000 images without augmentation they do; the noise of small batches is then a regularizer,
and batch norm had 2 points less test error with batches of 4 than of 64.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import AUGMENTED, LEARNED, choose
from cnnlab.lab import Claim, Condition, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
NORMS = ("none", "batch", "layer", "instance", "group", "weight", "switchable")
BATCHES = (2, 16, 64)
SENSITIVE = ("batch", "group", "switchable")  # the norms that claims compare at several batches
BATCH_NORM = "arXiv:1502.03167, section 4.2.1"
GROUP_NORM = "arXiv:1803.08494, table 2"
SWITCHABLE = "arXiv:1806.10779, comparison of batch sizes"
# Top-1 error of ResNet-50 on ImageNet in %, by images per GPU.
IMAGENET = {
  "batch_2": (34.7, GROUP_NORM), "batch_16": (23.7, GROUP_NORM),
  "group_2": (24.1, GROUP_NORM), "group_16": (24.2, GROUP_NORM),
  "switchable_2": (24.4, SWITCHABLE), "switchable_16": (23.3, SWITCHABLE),
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
      **AUGMENTED,
      "model.blocks": 1,
      "model.width": 0.75,
      "optim.reference_batch": 64,
    },
    tiny={"model.blocks": 1, "model.width": 0.25, "data.train_examples": 100, **rate},
    rates=(0.02, 0.06, 0.2, 0.6, 2.0),
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
      for batch in (BATCHES if chosen.at_full_size or norm in SENSITIVE else (64,))
    },
    base="batch_64",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(
      LEARNED,
      Condition("they do not know the training set by heart", "trainset/error", ">=", 0.1),
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
      Claim("batch norm suffers from small batches", "batch_2", ">", "batch_64", GROUP_NORM),
      Claim(
        "group norm does not suffer from small batches",
        "group_2", "<=", "group_64", GROUP_NORM, margin=0.01,
      ),
      Claim(
        "switchable norm is as good as batch norm at large batches",
        "switchable_64", "<=", "batch_64", SWITCHABLE, margin=0.01,
      ),
      Claim(
        "switchable norm is better than batch norm at small batches",
        "switchable_2", "<", "batch_2", SWITCHABLE,
      ),
    ),
    paper={
      label: Published(value / 100, source, "ResNet-50 on ImageNet, images per GPU")
      for label, (value, source) in IMAGENET.items()
    },
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
