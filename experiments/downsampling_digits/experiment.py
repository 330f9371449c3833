"""Pooling versus strided convolution on scikit-learn's 1,797 handwritten digits: the quickstart.

The variants are those of arXiv:1412.6806 (All-CNN), section 2, with a net that trains in seconds:
max pooling or average pooling after each block; no pooling, with the last convolution of each block
strided (the paper's Strided-CNN); and a strided convolution in place of each pooling, which keeps
the number of layers (the paper's All-CNN).
"""

from __future__ import annotations

from cnnlab.lab import Claim, Condition, Experiment

RECIPES = ("", "tiny")


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is '' or 'tiny' (two steps per run, for tests).

  Raises:
    KeyError: the recipe is unknown.
  """
  page = {"": "configs/digits.py", "tiny": "configs/digits.py:tiny"}[recipe]
  return Experiment(
    name="downsampling_digits",
    question="Can strided convolution replace pooling without loss, on 8x8 handwritten digits?",
    config=page,
    overrides={"eval_trainset": True},
    variants={
      "max": {"model.downsample": "max"},
      "avg": {"model.downsample": "avg"},
      "stride": {"model.downsample": "stride"},
      "conv": {"model.downsample": "conv"},
    },
    base="max",
    seeds=(0, 1, 2) if recipe == "tiny" else (0, 1, 2, 3, 4),
    regime=(Condition("the nets fit their training set", "trainset/error", "<=", 0.02),),
    claims=(
      Claim(
        "striding the last convolution instead of max pooling costs less than 2 points",
        "stride",
        "<=",
        "max",
        "arXiv:1412.6806, section 2 and table 3",
        margin=0.02,
      ),
      Claim(
        "a strided convolution in place of max pooling costs less than 2 points",
        "conv",
        "<=",
        "max",
        "arXiv:1412.6806, section 2 and table 3",
        margin=0.02,
      ),
      Claim(
        "max pooling beats average pooling",
        "max",
        "<",
        "avg",
        "CS231n lecture notes, convolutional networks, pooling layer",
      ),
    ),
    recipe=recipe,
    note="Our own hyperparameters: the paper's are for CIFAR-10, and none of its figures apply.",
  )
