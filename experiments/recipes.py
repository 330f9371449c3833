"""The recipes of the CIFAR-10 experiments: forms of one experiment that differ in size and cost.

  paper   as published, or at the scale of the source; for an accelerator
  quick   5 seeds in half an hour on two CPU cores: 8,000 training and 4,000 test images reduced to
          16x16 pixels, narrow nets, a few epochs. Its answers are valid for this setting only.
          With three seeds, a paired test would have two degrees of freedom and decide nothing.
  tiny    two steps on scikit-learn's digits, for the tests

An empty name selects `quick`. TFDS provides CIFAR-10; `--config.data.dir=DIR` sets its directory.
A recipe is not a set of training hyperparameters: those are the overrides that it contains.
"""

from __future__ import annotations

from typing import NamedTuple

from cnnlab.lab.variants import Overrides

CIFAR = (
  "Committed results were measured on CIFAR-10 stored as JPEGs of quality 75, which is slightly "
  "harder than the original images."
)
REDUCED = (
  "Quick recipe: 8,000 training and 4,000 test images of 16x16 pixels, narrower nets and few "
  "epochs. It does not reproduce the paper's figures, which are shown only for comparison."
)

QUICK: Overrides = {
  "batch_size": 64,
  "eval_every_epochs": 2.0,
  "checkpoint_every_epochs": 0.0,
  "log_every_steps": 25,
  "data.train_examples": 8000,
  "data.eval_examples": 4000,
  "data.image_size": 16,
  "data.crop_padding": 2,
  "schedule.name": "cosine",
  "schedule.warmup_epochs": 0.5,
}
TINY: Overrides = {
  "batch_size": 8,
  "eval_batch_size": 20,
  "max_steps": 2,
  "log_every_steps": 1,
  "checkpoint_every_epochs": 0.0,
  "data.name": "digits",
  "data.channels": 3,
  "data.image_size": 16,
  "data.train_examples": 40,
  "data.eval_examples": 20,
}


class Recipe(NamedTuple):
  """One form of an experiment.

  Attributes:
    name: `paper`, `quick` or `tiny`.
    overrides: {dotted.config.key: value} for all variants.
    seeds: the seeds of every variant.
    note: how this form differs from the published one; shown in the report.
  """

  name: str
  overrides: Overrides
  seeds: tuple[int, ...]
  note: str

  @property
  def at_full_size(self) -> bool:
    """Whether this is the published form."""
    return self.name == "paper"


def choose(
  name: str,
  *,
  paper: Overrides | None = None,
  quick: Overrides | None = None,
  tiny: Overrides | None = None,
  seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
  note: str = "",
) -> Recipe:
  """Returns the recipe with the given name.

  Args:
    name: `paper`, `quick`, `tiny`, or empty for `quick`.
    paper: overrides of the config page for the published form.
    quick, tiny: overrides for the small forms, in addition to `QUICK` and `TINY`.
    seeds: seeds of the published form; the quick form has five, the tiny one two.
    note: how the published form differs from its source.

  Raises:
    KeyError: the name is unknown.
  """
  if name == "paper":
    return Recipe("paper", dict(paper or {}), seeds, f"{note} {CIFAR}".strip())
  if name == "tiny":
    return Recipe("tiny", {**TINY, **(tiny or {})}, (0, 1), "Two steps on digits, for tests only.")
  if name in ("", "quick"):
    return Recipe("quick", {**QUICK, **(quick or {})}, (0, 1, 2, 3, 4), f"{REDUCED} {CIFAR}")
  raise KeyError(name)
