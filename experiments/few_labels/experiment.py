"""Classifiers from 10 to 1,000 labels: on an autoencoder's codes, fine-tuned, and from scratch.

Source: lecture notes on embeddings: codes that are learned without labels help where labels are few.
An autoencoder sees all training images without their labels (`source.py`). All variants are `convnet`
with a linear classifier on its last map, trained by the same loop:

  codes    the autoencoder's encoder, frozen, batch statistics too
  tuned    the encoder as a start
  scratch  random weights

    cnnlab train --config=experiments/few_labels/source.py:mnist --config.data.dir=DATA_DIR \
      --workdir=runs/few_labels_mnist
    cnnlab train --config=experiments/few_labels/source.py:cifar10 --config.data.dir=DATA_DIR \
      --workdir=runs/few_labels_cifar10
    cnnlab sweep experiments/few_labels --config.data.dir=DATA_DIR --root runs

Each seed draws labels of its own, as many of each class, so that intervals are over the choice of labels
too; the variants of a seed share them. There is one autoencoder for each data set.
"""

from __future__ import annotations

from cnnlab.experiments.few_labels.source import NET, TINY_NET
from cnnlab.experiments.recipes import Recipe
from cnnlab.lab import Claim, Condition, Experiment, Tuning, grid
from cnnlab.lab.variants import Overrides, Variants

RECIPES = ("quick", "tiny")
NOTES = "lecture notes on embeddings, autoencoders"
SOURCES = "runs/few_labels_"
# Labels, and the batch size and epochs that they are trained with.
AMOUNTS = {10: (10, 300.0), 100: (50, 150.0), 1000: (50, 30.0)}
METHODS = ("codes", "tuned", "scratch")
FROZEN = ({"pattern": "block*", "frozen": True},)
SHARED: Overrides = {
  "model.hidden": (),
  "data.train_examples_by": "seed",
  "data.centering": "symmetric",
  "data.crop_padding": 0,
  "data.flip": False,
  "eval_trainset": True,
  "eval_every_epochs": 0.0,
  "checkpoint_every_epochs": 0.0,
  "optim.name": "adam",
  "optim.weight_decay": 0.0,
  "schedule.name": "cosine",
}


def _recipe(name: str) -> Recipe:
  if name == "tiny":
    small: Overrides = {
      "batch_size": 10,
      "eval_batch_size": 20,
      "max_steps": 2,
      "log_every_steps": 1,
      "optim.learning_rate": 0.001,
    }
    net = {f"model.{key}": value for key, value in TINY_NET.items()}
    return Recipe(name, {**SHARED, **net, **small}, (0, 1), "Two steps on digits, for tests only.")
  if name in ("", "quick"):
    tuning = Tuning({"optim.learning_rate": (0.0001, 0.0003, 0.001, 0.003, 0.01)})
    net = {f"model.{key}": value for key, value in NET.items()}
    note = "A small net and one autoencoder for each data set; the notes have no figures."
    return Recipe(
      "quick", {**SHARED, **net, "eval_batch_size": 1000}, (0, 1, 2, 3, 4), note, tuning
    )
  raise KeyError(name)


def _variants(tiny: bool) -> Variants:
  """Returns every method on every data set with every number of labels."""
  found: dict[str, Overrides] = {}
  for data, channels in (("mnist", 1), ("cifar10", 3)):
    source = f"{SOURCES}{'tiny' if tiny else data}"
    methods: dict[str, Overrides] = {
      "codes": {"init_from": source, "optim.groups": FROZEN},
      "tuned": {"init_from": source},
      "scratch": {},
    }
    labels: dict[str, Overrides] = {
      str(count): {"data.train_examples": count, "batch_size": batch, "epochs": epochs}
      for count, (batch, epochs) in AMOUNTS.items()
    }
    if tiny:
      labels = {str(count): {"data.train_examples": 10 + i} for i, count in enumerate(AMOUNTS)}
    images = (
      {"data.name": "digits"} if tiny else {"data.name": f"tfds:{data}", "data.channels": channels}
    )
    for label, own in grid(methods, labels).items():
      method, _, count = label.partition(",")
      found[f"{method}_{data}_{count}"] = {**own, **images}
  return found


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = _recipe(recipe)
  tiny = chosen.name == "tiny"

  def better(text: str, left: str, data: str, count: int) -> Claim:
    return Claim(text, f"{left}_{data}_{count}", "<", f"scratch_{data}_{count}", NOTES)

  return Experiment(
    name="few_labels",
    question="Do codes that are learned without labels help where labels are few?",
    config="configs/cifar.py:convnet",
    overrides=chosen.overrides,
    variants=_variants(tiny),
    base="scratch_mnist_10",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(
      Condition(
        "nets that can fit their training set do", "trainset/error", "<=", 0.1,
        ("tuned_*", "scratch_*"),
      ),
    ),
    claims=(
      *(
        better(f"{name}: with {count:,} labels, a pretrained encoder beats random weights", "tuned", data, count)
        for name, data in (("MNIST", "mnist"), ("CIFAR-10", "cifar10"))
        for count in AMOUNTS
      ),
      better("MNIST: with 10 labels, a linear classifier on the codes beats training from scratch", "codes", "mnist", 10),
      better("CIFAR-10: with 10 labels, so it does", "codes", "cifar10", 10),
      Claim(
        "MNIST: with 1,000 labels, the codes alone no longer suffice",
        "tuned_mnist_1000", "<", "codes_mnist_1000", NOTES,
      ),
      Claim(
        "CIFAR-10: nor do they", "tuned_cifar10_1000", "<", "codes_cifar10_1000", NOTES,
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
