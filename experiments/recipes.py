"""What the CIFAR-10 experiments share: the forms that each can be run in.

  paper   as published, or at the size that the source had in mind; for an accelerator
  quick   5 seeds within half an hour on two CPU cores: 8,000 training and 4,000 test images reduced
          to 16x16 pixels, narrow nets, a few epochs. It answers the question for that setting only.
          Three seeds would leave a paired test two degrees of freedom: it could decide nothing.
  tiny    two steps on scikit-learn's digits, for the tests

The empty recipe is `quick`. CIFAR-10 comes by TFDS: `--config.data.dir=DIR` says where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

CIFAR = (
  "Committed results were measured on CIFAR-10 stored as JPEGs of quality 75, which is slightly "
  "harder than the original images."
)
REDUCED = (
  "Quick recipe: 8,000 training and 4,000 test images of 16x16 pixels, narrower nets and few "
  "epochs. It is no reproduction of the paper's figures, which are given for orientation."
)

QUICK: dict[str, Any] = {
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
TINY: dict[str, Any] = {
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
  """One form of an experiment: what all its variants set, the seeds, and what must be said of it."""

  name: str
  overrides: Mapping[str, Any]
  seeds: tuple[int, ...]
  note: str

  @property
  def at_full_size(self) -> bool:
    """Whether this is the published form."""
    return self.name == "paper"


def choose(
  name: str,
  *,
  paper: Mapping[str, Any] | None = None,
  quick: Mapping[str, Any] | None = None,
  tiny: Mapping[str, Any] | None = None,
  seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
  note: str = "",
) -> Recipe:
  """Returns the recipe called `name`.

  Args:
    name: `paper`, `quick`, `tiny`, or empty for `quick`.
    paper: {dotted.key: value} beside the page, for the published form.
    quick, tiny: the same for the small forms, on top of `QUICK` and `TINY`.
    seeds: of the published form; the quick one has five, the tiny one two.
    note: how the published form departs from its source.

  Raises:
    KeyError: another name.
  """
  if name == "paper":
    return Recipe("paper", dict(paper or {}), seeds, f"{note} {CIFAR}".strip())
  if name == "tiny":
    return Recipe("tiny", {**TINY, **(tiny or {})}, (0, 1), "Two steps on digits: a test.")
  if name in ("", "quick"):
    return Recipe("quick", {**QUICK, **(quick or {})}, (0, 1, 2, 3, 4), f"{REDUCED} {CIFAR}")
  raise KeyError(name)
