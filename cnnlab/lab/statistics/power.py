"""How many more seeds would decide a claim: an estimate, its direction, and its uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from cnnlab.lab.statistics.crossed import Estimate

POWER = 0.8  # probability of a decision with that many seeds
MOST_SEEDS = 1000  # if more are needed, the number is infinite


class MoreSeeds(NamedTuple):
  """A number of seeds in addition to the finished ones.

  Attributes:
    more: NaN if nothing can be known, as from one seed; infinite if no realistic number would do,
      as when the test images alone leave too much uncertain.
    low, high: the same if the true difference is one standard error farther from the margin than
      the measured one, and one nearer to it.
  """

  more: float = math.nan
  low: float = math.nan
  high: float = math.nan


def more_seeds(found: Estimate, edge: float, alpha: float) -> MoreSeeds:
  """Returns how many more seeds would decide on which side of `edge` a difference lies.

  Args:
    found: the difference.
    edge: the margin.
    alpha: at which it is decided.
  """
  if not found.error > 0:
    return MoreSeeds()
  shift = abs(found.mean - edge)
  spread = math.sqrt(found.seeds_part * found.size)
  groups = found.seeds_freedom / (found.size - 1)
  shifts = (shift, shift + found.error, max(0.0, shift - found.error))
  needed = [seeds_needed(x, spread, 1 - alpha, found.images_part, groups) for x in shifts]
  return MoreSeeds(*(max(1.0, count - found.size) for count in needed))


def seeds_needed(
  shift: float, deviation: float, level: float, images_part: float = 0.0, groups: float = 1.0
) -> float:
  """Returns how many seeds a two-sided t test needs for a power of `POWER`; infinite if too many.

  Args:
    shift: distance of the true mean from the tested mean.
    deviation: standard deviation over seeds.
    level: 1 - the probability of finding a shift when there is none.
    images_part: squared standard error that stays, however many seeds there are.
    groups: degrees of freedom per seed: 1 if paired, up to 2 if not.
  """
  if not deviation or not shift or math.isnan(shift) or math.isnan(deviation):
    return math.inf
  counts = np.arange(2, MOST_SEEDS + 1)
  seeds_part = deviation**2 / counts
  total = seeds_part + images_part
  freedom = total**2 / (seeds_part**2 / (groups * (counts - 1)))
  quantile = stats.t.ppf(1 - (1 - level) / 2, freedom)
  found = stats.nct.sf(quantile, freedom, abs(shift) / np.sqrt(total))
  enough = np.flatnonzero(found >= POWER)
  return float(counts[enough[0]]) if len(enough) else math.inf
