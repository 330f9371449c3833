"""A ResNet of 152 layers versus VGG of 19: depth is not cost.

Source: the lecture notes: a ResNet "at runtime is faster than VGGNet, even though it has 8x more layers";
arXiv:1512.03385, section 3.3: the 152-layer net has 11.3 G multiply-adds, VGG-16 and VGG-19 have 15.3
and 19.6 G. Nothing is learned here: a few training steps on images of 224x224 pixels are timed, a run
at a time (`--workers 1`), on a machine that does nothing else. The batch is as large as VGG's first
maps allow on small machines.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import choose
from cnnlab.lab import Claim, Experiment

RECIPES = ("paper", "quick", "tiny")
NOTES = "lecture notes on ResNet; arXiv:1512.03385, section 3.3"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  steps = {
    "max_steps": 8,
    "log_every_steps": 1,
    "eval_every_epochs": 0.0,
    "checkpoint_every_epochs": 0.0,
    "data.image_size": 224,
    "data.train_examples": 320,
    "data.eval_examples": 10,
    "data.crop_padding": 0,
    "data.centering": "channel",
    "optim.learning_rate": 0.001,
  }
  small = {"eval_trainset": False, "schedule.name": "constant", "schedule.warmup_epochs": 0.0}
  chosen = choose(
    recipe,
    paper={"batch_size": 32, **steps, "eval_trainset": False},
    quick={"batch_size": 4, **steps, **small},
    tiny={"data.image_size": 64, "eval_trainset": False},
    rates=(),
    note="Eight training steps of random nets.",
  )
  deep, shallow = ("resnet18", "vgg11") if chosen.name == "tiny" else ("resnet152", "vgg19")
  narrow = {"model.width": 0.05} if chosen.name == "tiny" else {}
  return Experiment(
    name="depth_cost",
    question="Is a ResNet of 152 layers cheaper than VGG-19?",
    config="configs/cifar.py:resnet152",
    overrides=chosen.overrides,
    variants={name: {"model.name": name, **narrow} for name in (deep, shallow)},
    base=shallow,
    seeds=chosen.seeds,
    metric="ms_per_step",
    claims=(
      Claim(
        "it has at most two thirds of the multiply-adds",
        deep, "<=", shallow, NOTES, metric="multiply_adds", factor=2 / 3,
      ),
      Claim(
        "it has at most half of the parameters",
        deep, "<=", shallow, NOTES, metric="parameters", factor=0.5,
      ),
      Claim("a training step takes less time", deep, "<", shallow, NOTES),
    ),
    recipe=chosen.name,
    note="A few training steps of untrained nets, timed; no accuracy is compared.",
  )  # fmt: skip
