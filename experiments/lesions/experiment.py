"""Residual Networks Behave Like Ensembles (arXiv:1605.06431): blocks removed from trained nets.

Every net is trained whole; its evaluation also removes blocks at random (`task.removed` of them, in
`task.draws` ways, the same for all nets) and measures the error without them. Blocks that change
size or channels stay, since nothing could take their place in a plain net. The plain net loses the
same blocks of two convolutions each as the residual one.

The paper removes blocks from a ResNet-110 and layers from a VGG on CIFAR-10 (sections 4.1 and 4.2,
figures 3 and 5), and gives curves only. It finds that stochastic depth makes a net a little more
robust. The quick recipe has more images than others, and augmentation: after 4,000 images without it,
nets err on more than half of the test images, which leaves little to add, and plain ones generalize
best at rates at which they do not fit their training set. `experiments.lesions.curves` draws the error
over the number of blocks.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import AUGMENTED, LEARNED, TRAINED, choose
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.variants import Variants

RECIPES = ("paper", "quick", "tiny")
ONE, MANY = (
  "arXiv:1605.06431, section 4.1 and figure 3",
  "arXiv:1605.06431, section 4.2 and figure 5",
)
DROPPED = "arXiv:1605.06431, section 6, on stochastic depth"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  # Removals cost several evaluations, so that there is one at the end only.
  once = {"task.name": "lesions", "eval_every_epochs": 0.0}
  chosen = choose(
    recipe,
    paper={**once, "task.removed": (1, 2, 5, 10), "data.centering": "channel"},
    quick={**AUGMENTED, **once, "task.removed": (1, 2, 4, 6), "model.width": 0.5},
    tiny={**once, "task.removed": (1, 2), "task.draws": 2, "model.width": 0.125, "model.blocks": 2},
    note="The paper's nets are a ResNet-110 and a VGG; a plain net of 110 layers does not train.",
  )
  several = {"paper": 5, "quick": 4, "tiny": 2}[chosen.name]
  variants: Variants = {
    "residual": {},
    "plain": {"model.residual": False},
    "stochastic": {"model.survival": 0.8},
  }
  added = "eval/error_added"
  return Experiment(
    name="lesions",
    question="Does a trained net survive the removal of some of its blocks?",
    config=f"configs/cifar.py:{'resnet56' if chosen.at_full_size else 'resnet20'}",
    overrides=chosen.overrides,
    variants=variants,
    base="residual",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(LEARNED if chosen.quick else TRAINED,),
    claims=(
      Claim(
        "removing a block adds less than half the error to a residual net that it adds to a plain one",
        "residual", "<", "plain", ONE, metric=f"{added}/1", factor=0.5,
      ),
      Claim(
        f"so does removing {several}",
        "residual", "<", "plain", MANY, metric=f"{added}/{several}", factor=0.5,
      ),
      Claim(
        "stochastic depth makes a net more robust to the removal of a block",
        "stochastic", "<", "residual", DROPPED, metric=f"{added}/1",
      ),
      Claim(
        f"and to the removal of {several}",
        "stochastic", "<", "residual", DROPPED, metric=f"{added}/{several}",
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
