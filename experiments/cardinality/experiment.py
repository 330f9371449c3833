"""Aggregated Residual Transformations (arXiv:1611.05431): cardinality versus width and depth.

`c<C>_d<d>` has C groups of d channels in the 3x3 convolution of each bottleneck, at equal
complexity (table 2). `deeper`, `wider` and `more_paths` have about twice the cost, spent on depth,
width or cardinality (table 4). The paper's figures are for ImageNet. The hyperparameters are those
of its CIFAR nets (section 5.3): 29 layers, 300 epochs, batches of 128, learning rate 0.1 divided by
10 at epochs 150 and 225, weight decay 5e-4. The quick recipe has nets of 11 layers and a quarter of
the width, and of the nets of equal cost those that claims are about. It trains on more images, with
augmentation: the paper's gains are lower training errors, too (section 5.1), which nets that fit
every training image cannot show. Claims at equal cost are tested only if the sides' multiply-adds
agree within 15 %.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import AUGMENTED, LEARNED, choose
from cnnlab.lab import Claim, Experiment, Published
from cnnlab.lab.variants import Overrides

RECIPES = ("paper", "quick", "tiny")
TABLE3, TABLE4 = "arXiv:1611.05431, table 3", "arXiv:1611.05431, table 4"
# Cardinality, width of a group, and top-1 error of the 50-layer net on ImageNet in % (table 3).
EQUAL = ((1, 64, 23.9), (2, 40, 23.0), (4, 24, 22.6), (8, 14, 22.3), (32, 4, 22.2))
# The same for 101-layer nets at twice the cost (table 4); the paper has groups of 100 channels.
DOUBLE: dict[str, tuple[Overrides, float]] = {
  "deeper": ({"model.blocks": 6}, 21.7),
  "wider": ({"model.base_width": 100}, 21.3),
  "more_paths": ({"model.cardinality": 2}, 20.7),
}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    paper={"epochs": 300.0, "optim.weight_decay": 0.0005},
    quick={
      **AUGMENTED,
      "model.width": 0.25,
      "model.blocks": 1,
      "optim.weight_decay": 0.0005,
    },
    tiny={"model.width": 0.25, "model.blocks": 1},
    rates=(0.03, 0.1, 0.3, 0.9),
    note="Section 5.3's hyperparameters on CIFAR-10, widths of table 2; figures are for ImageNet.",
  )
  equal = {
    f"c{groups}_d{width}": {"model.cardinality": groups, "model.base_width": width}
    for groups, width, _ in EQUAL
    if groups in (1, 8, 32) or not chosen.quick
  }
  double = {label: overrides for label, (overrides, _) in DOUBLE.items()}
  if not chosen.at_full_size:
    double["deeper"] = {"model.blocks": 2}
  errors = {f"c{groups}_d{width}": (error, TABLE3) for groups, width, error in EQUAL}
  errors |= {label: (error, TABLE4) for label, (_, error) in DOUBLE.items()}
  return Experiment(
    name="cardinality",
    question="Does cardinality improve accuracy more than depth or width at equal cost?",
    config="configs/cifar.py:resnext29_1x64d",
    overrides=chosen.overrides,
    variants=equal | double,
    base="c1_d64",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(LEARNED,),
    claims=(
      Claim(
        "more paths are better at equal cost",
        "c8_d14", "<", "c1_d64", TABLE3, equal="multiply_adds", tolerance=0.15,
      ),
      Claim(
        "many narrow paths are better, too",
        "c32_d4", "<", "c1_d64", TABLE3, equal="multiply_adds", tolerance=0.15,
      ),
      Claim(
        "at twice the cost, more paths beat more width",
        "more_paths", "<", "wider", TABLE4, equal="multiply_adds", tolerance=0.15,
      ),
      Claim(
        "at twice the cost, more paths beat more depth",
        "more_paths", "<", "deeper", TABLE4, equal="multiply_adds", tolerance=0.15,
      ),
    ),
    paper={
      label: Published(
        error / 100, source, "ImageNet, 50 layers" if source == TABLE3 else "ImageNet, 101 layers"
      )
      for label, (error, source) in errors.items()
      if label in equal | double
    },
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
