"""Pooling versus strided convolution on scikit-learn's 1,797 handwritten digits: the quickstart.

The variants are those of arXiv:1412.6806 (All-CNN), section 2, on a net small enough for seconds:
max and average pooling after each block; the pooling dropped and the block's last convolution
strided (the paper's Strided-CNN); and each pooling replaced by a strided convolution of its own,
so that the stack has as many layers as the pooled one (the paper's All-CNN).
"""

from __future__ import annotations

from cnnlab.lab.experiment import Claim, Experiment

RECIPES = ("", "tiny")


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is '' or 'tiny' (two steps a run, for tests).

  Raises:
    KeyError: another recipe.
  """
  page = {"": "configs/digits.py", "tiny": "configs/digits.py:tiny"}[recipe]
  return Experiment(
    name="downsampling_digits",
    question="Can strided convolution replace pooling at no loss, on 8x8 handwritten digits?",
    config=page,
    variants={
      "max": {"model.downsample": "max"},
      "avg": {"model.downsample": "avg"},
      "stride": {"model.downsample": "stride"},
      "conv": {"model.downsample": "conv"},
    },
    base="max",
    seeds=(0, 1, 2) if recipe == "tiny" else (0, 1, 2, 3, 4),
    claims=(
      Claim(
        "striding the convolution before it instead of pooling costs less than 2 points",
        "stride",
        "<=",
        "max",
        "arXiv:1412.6806, section 2 and table 3",
        margin=0.02,
      ),
      Claim(
        "a strided convolution in the place of max pooling costs less than 2 points",
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
    note="Our own recipe: the published one is for CIFAR-10. No figures of the paper apply.",
  )
