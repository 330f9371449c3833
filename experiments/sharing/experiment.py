"""Shared filters (convolution) versus a filter of its own at every position (locally connected).

Source: CS231n's notes on parameter sharing. Without it, AlexNet's first layer would have 105,705,600
weights instead of 34,944. Sharing "may not make sense" where images are centered and different features
are to be learned at different places, as in faces. MNIST's digits are centered and upright; the objects
of CIFAR-10 are anywhere. In `shifted`, digits are anywhere, too: each image of both splits is moved by
up to 4 of its 28 pixels, about the width of the border around a digit.

The net is `convnet` of two blocks with a linear classifier on the flattened map, so that both forms can
tell positions apart. Sharing changes the parameters, not the multiply-adds.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import choose
from cnnlab.experiments.sharing.shifted import IMPORTS
from cnnlab.lab import Claim, Condition, Experiment, Tuning
from cnnlab.lab.variants import Overrides

RECIPES = ("paper", "quick", "tiny")
NOTES = "CS231n lecture notes, convolutional networks, parameter sharing"
DATA: dict[str, Overrides] = {
  "mnist": {"data.name": "tfds:mnist", "data.channels": 1},
  "shifted": {"data.name": "shifted:4:tfds:mnist", "data.channels": 1, "imports": IMPORTS},
  "cifar10": {"data.name": "tfds:cifar10", "data.channels": 3},
}
# Digits stand for all sets in the tests.
TINY: dict[str, Overrides] = {
  "mnist": {"data.channels": 1},
  "shifted": {"data.name": "shifted:1:digits", "data.channels": 1, "imports": IMPORTS},
  "cifar10": {"data.channels": 3},
}
RATES = (0.01, 0.03, 0.1, 0.2)
DECAYS = (1e-4, 1e-3, 1e-2)
# A net that is kept from fitting its training images may be the better one.
LEARNED = Condition("the nets have learned", "trainset/error", "<=", 0.5)


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  net = {"model.hidden": (), "data.centering": "channel"}
  chosen = choose(
    recipe,
    paper={
      "epochs": 100.0,
      "model.features": (32, 64),
      "optim.learning_rate": 0.02,
      "data.crop_padding": 0,
      "data.flip": False,
      **net,
    },
    quick={"epochs": 60.0, "eval_every_epochs": 12.0, "model.features": (16, 32), **net},
    tiny={"model.features": (4, 4), **net},
    rates=RATES,
    note="Our own net and hyperparameters: the source has no table.",
  )
  sets = TINY if chosen.name == "tiny" else DATA
  return Experiment(
    name="sharing",
    question="Does sharing filters over positions cost or gain accuracy, and how much does it save?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants={
      f"{form}_{name}": {"model.shared": form == "shared", **data}
      for name, data in sets.items()
      for form in ("shared", "local")
    },
    base="shared_cifar10",
    seeds=chosen.seeds,
    # Both forms overfit 4,000 images, and which one does more depends on the weight decay.
    tuning=chosen.tuning and Tuning({**chosen.tuning.keys, "optim.weight_decay": DECAYS}),
    regime=(LEARNED,),
    claims=(
      Claim(
        "sharing takes at most a tenth of the parameters, linear classifier included",
        "shared_cifar10", "<=", "local_cifar10", NOTES, metric="parameters", factor=0.1,
      ),
      Claim(
        "it is better where objects are anywhere", "shared_cifar10", "<", "local_cifar10", NOTES,
      ),
      Claim(
        "local filters can win on aligned images", "local_mnist", "<", "shared_mnist", NOTES,
      ),
      Claim(
        "on the same images, shifted, sharing is better", "shared_shifted", "<", "local_shifted", NOTES,
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
