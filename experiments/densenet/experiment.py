"""Densely Connected Convolutional Networks (arXiv:1608.06993): errors and numbers of parameters.

DenseNets of the same depth in the basic form, with bottlenecks (`b`), with compression (`c`) and
with both (`bc`), compared with a ResNet. Published (table 2, C10+): 300 epochs of SGD with Nesterov
momentum 0.9, batches of 64, learning rate 0.1 divided by 10 after one half and three quarters of
the training, weight decay 1e-4, flips and shifts. The claim is about the error for a number of
parameters: the quick recipe's ResNet has more than twice as many as its DenseNet-BC, and its wide
DenseNet-BC, of twice the growth rate, has almost as many as the basic form.

The quick recipe has no augmentation, as column C10 of table 2. There, the paper's DenseNets have
dropout of 0.2 and its ResNet has none; here, no net has.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import TRAINED, choose
from cnnlab.lab import Claim, Experiment, Published
from cnnlab.lab.variants import Overrides, Variants

RECIPES = ("paper", "quick", "tiny")
TABLE2, FIGURE4 = "arXiv:1608.06993, table 2", "arXiv:1608.06993, figure 4 (left)"
DEPTHS = {"basic": "40 layers", "bc100": "100 layers", "resnet": "ResNet-110"}
PLAIN = (
  "Without augmentation, the paper's DenseNet-BC of 100 layers and 0.8 M parameters errs on 5.92 %, "
  "its ResNet of 1.7 M on 13.63 %."
)
FORMS = {
  "basic": "densenet40_12",
  "b": "densenet_b40_12",
  "c": "densenet_c40_12",
  "bc": "densenet_bc40_12",
}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    paper={
      "epochs": 300.0,
      "batch_size": 64,
      "data.centering": "channel",
      "optim.nesterov": True,
    },
    quick={"optim.nesterov": True},
    rates=(0.1, 0.3, 0.9, 2.7),
    note="The paper has one figure per net; its error is from the last epoch, as it is here.",
  )
  # 22 layers: 3 blocks of 6 layers, or of 3 layers with bottlenecks.
  growth = 8
  blocks = {form: (3, 3, 3) if form in ("b", "bc") else (6, 6, 6) for form in FORMS}
  if chosen.name == "tiny":
    growth, blocks = 4, dict.fromkeys(FORMS, (1, 1, 1))
  variants: Variants = {}
  for form, net in FORMS.items():
    size: Overrides = {"model.growth_rate": growth, "model.blocks": blocks[form]}
    variants[form] = {"model.name": net, **({} if chosen.at_full_size else size)}
  if chosen.at_full_size:
    small, wide = "bc100", "bc100"
    variants["bc100"] = {"model.name": "densenet_bc100_12"}
    variants["resnet"] = {"model.name": "resnet110"}
    column, published = f"{TABLE2}, C10+", {"basic": 0.0524, "bc100": 0.0451, "resnet": 0.0661}
  else:
    small, wide = "bc", "bc_wide"
    variants["bc_wide"] = {**variants["bc"], "model.growth_rate": 2 * growth}
    variants["resnet"] = {"model.name": "resnet32", "model.width": 0.5}
    column, published = f"{TABLE2}, C10", {"basic": 0.07, "resnet": 0.1363}
  return Experiment(
    name="densenet",
    question="Does a DenseNet need fewer parameters for the same error, even fewer with B and C?",
    config="configs/cifar.py:densenet40_12",
    overrides=chosen.overrides,
    variants=variants,
    base="resnet",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim(
        "a DenseNet-BC has at most half as many parameters as the ResNet",
        small, "<=", "resnet", column, metric="parameters", factor=0.5,
      ),
      Claim(
        "with these, its error is no higher than that of the ResNet",
        small, "<=", "resnet", column, margin=0.01,
      ),
      Claim(
        "bottlenecks and compression save parameters: at most two thirds of the basic form's",
        "bc", "<=", "basic", TABLE2, metric="parameters", factor=2 / 3,
      ),
      Claim(
        "they raise the error by no more than two points at equal depth and growth rate",
        "bc", "<=", "basic", FIGURE4, margin=0.02,
      ),
      Claim(
        "a deeper or wider DenseNet-BC has no more parameters than the basic form",
        wide, "<=", "basic", FIGURE4, metric="parameters",
      ),
      Claim("with these, its error is lower", wide, "<", "basic", FIGURE4),
    ),
    paper={net: Published(error, column, DEPTHS[net]) for net, error in published.items()},
    recipe=chosen.name,
    note=chosen.note if chosen.at_full_size else f"{chosen.note} {PLAIN}",
  )  # fmt: skip
