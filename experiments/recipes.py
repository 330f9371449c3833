"""The recipes of the CIFAR-10 experiments: forms of one experiment that differ in size and cost.

  paper   as published, or at the scale of the source; for an accelerator
  quick   for two CPU cores: 4,000 training images of 16x16 pixels without augmentation, both unless
          stated; narrow nets, trained until the rate has decayed to zero; every variant's learning
          rate is tuned; all 10,000 test images. Its answers are valid for this setting.
  tiny    two steps on scikit-learn's digits, for the tests

An empty name selects `quick`. TFDS provides CIFAR-10; `--config.data.dir=DIR` sets its directory.
A recipe is not a set of training hyperparameters: those are the overrides that it contains.
"""

from __future__ import annotations

from typing import NamedTuple

from cnnlab.lab import Condition, Tuning
from cnnlab.lab.variants import Overrides

REDUCED = (
  "Quick recipe: {:,} training images of {}x{} pixels, all 10,000 test images, narrower nets. The "
  "papers' figures are for 50,000 images of 32x32 pixels and are shown only for comparison."
)

QUICK: Overrides = {
  "batch_size": 64,
  "eval_batch_size": 1000,
  "epochs": 40.0,
  "eval_every_epochs": 8.0,
  "eval_trainset": True,
  "checkpoint_every_epochs": 0.0,
  "log_every_steps": 62,
  "data.train_examples": 4000,
  "data.image_size": 16,
  "data.crop_padding": 0,
  "data.flip": False,
  "data.centering": "channel",
  "schedule.name": "cosine",
  "schedule.warmup_epochs": 1.0,
}
# For claims about nets that do not overfit: more images than `QUICK`, flipped and shifted.
AUGMENTED: Overrides = {
  "epochs": 15.0,
  "eval_every_epochs": 5.0,
  "data.train_examples": 16_000,
  "data.flip": True,
  "data.crop_padding": 2,
}
TINY: Overrides = {
  "batch_size": 8,
  "eval_batch_size": 20,
  "max_steps": 2,
  "log_every_steps": 1,
  "eval_trainset": True,
  "checkpoint_every_epochs": 0.0,
  "data.name": "digits",
  "data.channels": 3,
  "data.image_size": 16,
  "data.train_examples": 40,
  "data.eval_examples": 20,
}
# The regime of most claims.
TRAINED = Condition("the nets are trained to the end", "trainset/error", "<=", 0.1)
LEARNED = Condition("the nets have learned", "trainset/error", "<=", 0.6)
RATES = (0.05, 0.1, 0.2, 0.4)


class Recipe(NamedTuple):
  """One form of an experiment.

  Attributes:
    name: `paper`, `quick` or `tiny`.
    overrides: {dotted.config.key: value} for all variants.
    seeds: the seeds of every variant.
    note: how this form differs from the published one; shown in the report.
    tuning: what every variant tries first; None for the published hyperparameters.
  """

  name: str
  overrides: Overrides
  seeds: tuple[int, ...]
  note: str
  tuning: Tuning | None = None

  @property
  def at_full_size(self) -> bool:
    """Whether this is the published form."""
    return self.name == "paper"

  @property
  def quick(self) -> bool:
    """Whether this is the form for two CPU cores."""
    return self.name == "quick"


def choose(
  name: str,
  *,
  paper: Overrides | None = None,
  quick: Overrides | None = None,
  tiny: Overrides | None = None,
  rates: tuple[float, ...] = RATES,
  seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
  note: str = "",
) -> Recipe:
  """Returns the recipe with the given name.

  Args:
    name: `paper`, `quick`, `tiny`, or empty for `quick`.
    paper: overrides of the config page for the published form.
    quick, tiny: overrides for the small forms, in addition to `QUICK` and `TINY`.
    rates: learning rates that every variant of the quick form tries; the published form has its own.
    seeds: seeds of the published and the quick form; the tiny one has two.
    note: how the published form differs from its source.

  Raises:
    KeyError: the name is unknown.
  """
  if name == "paper":
    overrides = {"eval_trainset": True, **(paper or {})}
    return Recipe("paper", overrides, seeds, note)
  if name == "tiny":
    return Recipe("tiny", {**TINY, **(tiny or {})}, (0, 1), "Two steps on digits, for tests only.")
  if name in ("", "quick"):
    tuning = Tuning({"optim.learning_rate": rates}) if rates else None
    overrides = {**QUICK, **(quick or {})}
    size = overrides["data.image_size"]
    reduced = REDUCED.format(overrides["data.train_examples"], size, size)
    return Recipe("quick", overrides, seeds, reduced, tuning)
  raise KeyError(name)
