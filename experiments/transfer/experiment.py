"""Codes, fine-tuning and training from scratch, over the amount of target data and its similarity.

Source: CS231n's notes on transfer learning, whose four rules of thumb are four of the claims. The
network comes from five classes of CIFAR-10 (`source.py`); the similar target are the other five, the
different one are MNIST's digits. All variants are trained by the same loop on the same net, a linear
classifier on a map of ResNet-20 that is averaged over 2x2 regions:

  codes    the last map, everything below the classifier frozen, batch statistics too
  earlier  the same on the second of three stages
  tuned    the last map; the pretrained layers have a tenth of the classifier's learning rate
  scratch  the last map, random weights

    cnnlab train --config=experiments/transfer/source.py --config.data.dir=DATA_DIR \
      --workdir=runs/transfer_source
    cnnlab sweep experiments/transfer --config.data.dir=DATA_DIR --root runs

`--config.init_from=DIR` names another place of the source run. Targets are the first images of each
class, the same for every seed; all images of the test set are evaluated.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import Recipe
from cnnlab.experiments.transfer.halves import IMPORTS
from cnnlab.lab import Claim, Condition, Experiment, Tuning
from cnnlab.lab.variants import Overrides, Variants, grid, joined

RECIPES = ("quick", "tiny")
NOTES = "CS231n lecture notes, transfer learning, common rules of thumb"
SOURCE = "runs/transfer_source"
PAGE = "experiments/transfer/source.py"
# Images of the target, and the batch size and epochs that they are trained with.
AMOUNTS = {10: (10, 300.0), 100: (50, 250.0), 1000: (50, 30.0), 5000: (50, 12.0)}
SMALL, LARGE = 100, 5000
FROZEN = ({"pattern": "encoder", "frozen": True},)
METHODS: dict[str, Overrides] = {
  "codes": {"optim.groups": FROZEN},
  "earlier": {"optim.groups": FROZEN, "model.stage": "stage2"},
  "tuned": {"optim.groups": ({"pattern": "encoder", "rate": 0.1},)},
  "scratch": {"init_from": "", "init_statistics": "data"},
}
TARGETS: dict[str, Overrides] = {
  "similar": {"data.name": "half:odd:tfds:cifar10"},
  "different": {"data.name": "tfds:mnist"},
}
# Digits stand for all sets in the tests.
TINY: dict[str, Overrides] = {
  "similar": {"data.name": "half:odd:digits"},
  "different": {"data.name": "digits"},
}
SHARED: Overrides = {
  "imports": IMPORTS,
  "model.name": "probe_resnet20",
  "model.grid": 2,
  "init_from": SOURCE,
  "init_statistics": "weights",
  "eval_trainset": True,
  "eval_every_epochs": 0.0,
  "checkpoint_every_epochs": 0.0,
  "data.channels": 3,
  "data.crop_padding": 0,
  "data.flip": False,
  "schedule.warmup_epochs": 0.0,
}


def _recipe(name: str) -> Recipe:
  if name == "tiny":
    small = {"batch_size": 8, "eval_batch_size": 20, "max_steps": 2, "log_every_steps": 1}
    return Recipe(name, {**SHARED, **small}, (0, 1), "Two steps on digits, for tests only.")
  if name in ("", "quick"):
    tuning = Tuning({"optim.learning_rate": (0.0004, 0.002, 0.01, 0.05, 0.25)})
    note = (
      "Images of 16x16 pixels, a source net of half of CIFAR-10. The notes have ImageNet's nets in "
      "mind, and no figures."
    )
    return Recipe("quick", {**SHARED, "eval_batch_size": 1000}, (0, 1, 2, 3, 4), note, tuning)
  raise KeyError(name)


def _variants(tiny: bool) -> Variants:
  """Returns every method on every target with every amount of data."""
  amounts = {
    str(count): {"data.train_examples": 10}
    if tiny
    else {"data.train_examples": count, "batch_size": batch, "epochs": epochs}
    for count, (batch, epochs) in AMOUNTS.items()
  }
  found = grid(METHODS, TINY if tiny else TARGETS, amounts)
  return joined({label.replace(",", "_"): own for label, own in found.items()})


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = _recipe(recipe)
  tiny = chosen.name == "tiny"
  return Experiment(
    name="transfer",
    question="When do the codes of a pretrained network suffice, and when does fine-tuning win?",
    config=f"{PAGE}:tiny" if tiny else PAGE,
    overrides=chosen.overrides,
    variants=_variants(tiny),
    base=f"scratch_similar_{LARGE}",
    seeds=chosen.seeds,
    tuning=chosen.tuning,
    regime=(
      Condition(
        "nets that can fit their training set do", "trainset/error", "<=", 0.1,
        ("tuned_*", "scratch_*"),
      ),
    ),
    claims=(
      Claim(
        "small and similar: a linear classifier on the codes is no worse than fine-tuning",
        f"codes_similar_{SMALL}", "<=", f"tuned_similar_{SMALL}", NOTES, margin=0.01,
      ),
      Claim(
        "large and similar: fine-tuning all layers beats the codes",
        f"tuned_similar_{LARGE}", "<", f"codes_similar_{LARGE}", NOTES,
      ),
      Claim(
        "small and different: codes of an earlier layer beat those of the last one",
        f"earlier_different_{SMALL}", "<", f"codes_different_{SMALL}", NOTES,
      ),
      Claim(
        "large and different: pretrained weights are still a better start than random ones",
        f"tuned_different_{LARGE}", "<", f"scratch_different_{LARGE}", NOTES,
      ),
      Claim(
        "on similar data, the last layer's codes beat an earlier layer's",
        f"codes_similar_{LARGE}", "<", f"earlier_similar_{LARGE}",
        "CS231n lecture notes, transfer learning: later layers are more specific to the original classes",
      ),
      Claim(
        "small and similar: the codes beat training from scratch",
        f"codes_similar_{SMALL}", "<", f"scratch_similar_{SMALL}", NOTES,
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
