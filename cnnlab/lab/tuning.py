"""Tuning: each variant tries the same grid of hyperparameters on a validation part of the training set.

The tuning runs lie beside the others, at `<variant>/tuning/<setting>/seed<k>`. The setting with the
best mean of the metric at the last evaluation is chosen; a setting with a run that has diverged or
failed is passed over, and of equal ones the first in the grid is taken. The test set is not read.
Where claims are about how well nets fit the training set, a metric of that set may choose instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnlab.annotations import fit
from cnnlab.errors import ConfigError
from cnnlab.lab.variants import Overrides, Variants, grid, values

if TYPE_CHECKING:
  import pandas as pd

FOLDER = "tuning"
ENDED = ("done", "diverged", "failed")


@dataclass(frozen=True)
class Tuning:
  """Which hyperparameters every variant of an experiment tries before its runs.

  Attributes:
    keys: {dotted.config.key: values to try}; every combination is tried.
    seeds: of the tuning runs.
    validation: fraction of the training set that is held out in them.
    overrides: for the tuning runs alone, such as fewer epochs.
    metric: by which a setting is chosen, such as `trainset/cross_entropy`; empty for the experiment's.
  """

  keys: Mapping[str, tuple[object, ...]]
  seeds: tuple[int, ...] = (1000,)
  validation: float = 0.1
  overrides: Overrides = field(default_factory=dict)
  metric: str = ""

  def __post_init__(self) -> None:
    """Raises ConfigError for an empty grid, or seeds, a fraction or a metric that are none."""
    if not self.keys or not all(len(tuple(tried)) for tried in self.keys.values()):
      raise ConfigError(f"tuning: keys is {dict(self.keys)}; each key needs values to try")
    for key, tried in self.keys.items():
      if wrong := [value for value in tried if not fit(value, Any)[1]]:
        raise ConfigError(
          f"tuning: {key!r} tries {wrong[0]!r:.200}; allowed: finite numbers, texts and tuples of these"
        )
    if not self.seeds or not all(isinstance(seed, int) and seed >= 0 for seed in self.seeds):
      raise ConfigError(f"tuning: seeds is {self.seeds}; allowed: whole numbers from 0")
    if not (isinstance(self.validation, float) and 0 < self.validation < 1):
      raise ConfigError(f"tuning: validation is {self.validation!r}; allowed: over 0 and below 1")
    if not isinstance(self.metric, str):
      raise ConfigError(
        f"tuning: metric is {self.metric!r}; allowed: a name such as 'trainset/error'"
      )

  @property
  def settings(self) -> Variants:
    """The grid, as {label of the setting: overrides}."""
    return grid(*(values(key, tuple(tried)) for key, tried in self.keys.items()))

  @property
  def shared(self) -> dict[str, object]:
    """The overrides that all tuning runs have beside their variant's and their setting's."""
    return {**self.overrides, "data.validation": self.validation}


def choose(table: pd.DataFrame, tuning: Tuning, better: str) -> dict[str, Overrides]:
  """Returns {variant: the overrides chosen for it}.

  A variant is left out while one of its runs has not ended, and if none of its settings is done.

  Args:
    table: of `cnnlab.lab.results.collect_tuning`.
    tuning: the grid.
    better: `min` or `max`.
  """
  sign = 1 if better == "min" else -1
  settings = tuning.settings
  chosen: dict[str, Overrides] = {}
  for label, part in table.groupby("variant", sort=False):
    if not part["status"].isin(ENDED).all():
      continue
    best, best_value = None, math.inf
    for setting, runs in part.groupby("setting", sort=False):
      value = sign * float(runs["value"].mean(skipna=False))
      if value < best_value:
        best, best_value = setting, value
    if best is not None:
      chosen[str(label)] = settings[str(best)]
  return chosen
