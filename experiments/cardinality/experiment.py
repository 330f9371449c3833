"""Aggregated Residual Transformations (arXiv:1611.05431): cardinality against width and depth.

`c<C>_d<d>`: a bottleneck's 3x3 convolution in C groups of d channels, at equal complexity (table
2); `deeper`, `wider` and `more_paths` spend about twice as much on depth, width or cardinality
(table 4). Published for ImageNet; on CIFAR the paper has 29-layer nets, 300 epochs, batches of 128, rate
0.1 divided by 10 at epochs 150 and 225, weight decay 5e-4 (section 5.3): those are used here.
"""

from __future__ import annotations

from typing import Any

from cnnlab.lab.experiment import Claim, Experiment, Published
from experiments.recipes import choose

RECIPES = ("paper", "quick", "tiny")
TABLE3, TABLE4 = "arXiv:1611.05431, table 3", "arXiv:1611.05431, table 4"
# Cardinality, width of a group, and top-1 error in % of the 50-layer net on ImageNet (table 3).
EQUAL = ((1, 64, 23.9), (2, 40, 23.0), (4, 24, 22.6), (8, 14, 22.3), (32, 4, 22.2))
# Of the 101-layer nets at twice the cost (table 4); the paper widens the group to 100 channels.
DOUBLE: dict[str, tuple[dict[str, Any], float]] = {
  "deeper": ({"model.blocks": 6}, 21.7),
  "wider": ({"model.base_width": 100}, 21.3),
  "more_paths": ({"model.cardinality": 2}, 20.7),
}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, '' for quick.

  Raises:
    KeyError: another recipe.
  """
  chosen = choose(
    recipe,
    paper={"epochs": 300.0, "optim.weight_decay": 0.0005},
    quick={"epochs": 8.0, "model.width": 0.25, "optim.weight_decay": 0.0005},
    tiny={"model.width": 0.25, "model.blocks": 1},
    note="Section 5.3's recipe on CIFAR-10 with table 2's widths; figures are of ImageNet.",
  )
  equal = {
    f"c{groups}_d{width}": {"model.cardinality": groups, "model.base_width": width}
    for groups, width, _ in EQUAL
  }
  errors = {f"c{groups}_d{width}": (error, TABLE3) for groups, width, error in EQUAL}
  errors |= {label: (error, TABLE4) for label, (_, error) in DOUBLE.items()}
  return Experiment(
    name="cardinality",
    question="Does cardinality buy more accuracy than depth or width at equal cost?",
    config="configs/cifar.py:resnext29_1x64d",
    overrides=chosen.overrides,
    variants=equal | {label: overrides for label, (overrides, _) in DOUBLE.items()},
    base="c1_d64",
    seeds=chosen.seeds,
    claims=(
      Claim("more paths are better at equal cost", "c32_d4", "<", "c1_d64", TABLE3),
      Claim("twice the paths beat more width", "more_paths", "<", "wider", TABLE4),
      Claim("twice the paths beat more depth", "more_paths", "<", "deeper", TABLE4),
    ),
    paper={
      label: Published(
        error / 100, source, "ImageNet, 50 layers" if source == TABLE3 else "ImageNet, 101 layers"
      )
      for label, (error, source) in errors.items()
    },
    recipe=chosen.name,
    note=chosen.note,
  )
