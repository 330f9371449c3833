"""Striving for Simplicity (arXiv:1412.6806): pooling versus strided convolution, on CIFAR-10.

Each base net has four forms: `base` with 3x3 max pooling; `strided`, where the convolution before
the pooling is strided instead; `all_cnn`, where a 3x3 convolution of stride 2 replaces the pooling;
and `convpool`, with an extra 3x3 convolution before the pooling, so that it has the size of
`all_cnn` and differs only in the pooling. The paper recipe includes all twelve nets; the other
recipes include those of base C.

Published (section 3.1): 350 epochs of SGD with momentum 0.9, learning rate divided by 10 at epochs
200, 250 and 300, weight decay 0.001, dropout of 20 % of the input and 50 % after each pooling; no
augmentation. The learning rate was chosen for each model from 0.25, 0.1, 0.05 and 0.01; in the paper
recipe it is 0.05 for all. Per-channel centering and scaling replace the paper's whitening. The paper
does not state the batch size. The quick recipe has batch norm, without which the deep nets train
slowly, and which permits higher rates: 0.5 takes the place of 0.01. It has 8,000 images, and weaker
dropout, as its nets are narrow.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import TRAINED, choose
from cnnlab.lab import Claim, Experiment, Published

RECIPES = ("paper", "quick", "tiny")
FORMS = ("base", "strided", "convpool", "all_cnn")
TABLE3 = {  # test error in %, CIFAR-10 without augmentation
  "base_a": 12.47, "strided_a": 13.46, "convpool_a": 10.21, "all_cnn_a": 10.30,
  "base_b": 10.20, "strided_b": 10.98, "convpool_b": 9.33, "all_cnn_b": 9.10,
  "base_c": 9.74, "strided_c": 10.19, "convpool_c": 9.31, "all_cnn_c": 9.08,
}  # fmt: skip
SOURCE = "arXiv:1412.6806, table 3"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    paper={
      "epochs": 350.0,
      "data.centering": "channel",
      "data.crop_padding": 0,
      "data.flip": False,
      "optim.learning_rate": 0.05,
      "optim.weight_decay": 0.001,
      "schedule.boundaries": (200 / 350, 250 / 350, 300 / 350),
    },
    quick={
      "epochs": 60.0,
      "eval_every_epochs": 12.0,
      "data.train_examples": 8000,
      "model.width": 0.25,
      "model.norm": "batch",
      "model.dropout_input": 0.0,
      "model.dropout": 0.2,
      "optim.weight_decay": 0.001,
    },
    tiny={"model.width": 0.05},
    rates=(0.05, 0.1, 0.25, 0.5),
    note="Learning rate 0.05 for all (the paper chose it per net), no whitening, batches of 128.",
  )
  bases = "abc" if chosen.at_full_size else "c"
  nets = [f"{form}_{base}" for base in bases for form in FORMS]
  return Experiment(
    name="all_cnn",
    question="Can strided convolution replace pooling without loss?",
    config="configs/cifar.py:base_c",
    overrides=chosen.overrides,
    variants={net: {"model.name": net} for net in nets},
    base="base_c",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    claims=(
      Claim(
        "replacing pooling with a strided convolution is as good as adding a convolution before it",
        "all_cnn_c", "<=", "convpool_c", f"{SOURCE} and section 3.1.1", margin=0.01,
      ),
      Claim(
        "the all-convolutional net is no worse than the pooled base net",
        "all_cnn_c", "<=", "base_c", SOURCE, margin=0.01,
      ),
      Claim(
        "removing the pooling and striding the convolution before it costs accuracy",
        "strided_c", ">", "base_c", f"{SOURCE} and section 3.1.1",
      ),
      Claim(
        "an extra convolution before each pooling helps",
        "convpool_c", "<", "base_c", SOURCE,
      ),
    ),
    paper={net: Published(TABLE3[net] / 100, SOURCE, "without augmentation") for net in nets},
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
