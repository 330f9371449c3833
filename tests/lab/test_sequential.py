"""Adding seeds until claims are decided, and how often that is wrong."""

from itertools import islice

import numpy as np
from scipy import stats

from cnnlab.lab.statistics.sequential import alpha_at, seeds_at_looks

LOOKS = list(islice(seeds_at_looks(), 6))


def test_looks():
  assert LOOKS == [5, 8, 12, 18, 27, 41]
  assert list(islice(seeds_at_looks(3), 3)) == [3, 5, 8]
  assert [alpha_at(look) for look in range(4)] == [0.05, 0.025, 0.0125, 0.00625]
  assert sum(alpha_at(look) for look in range(1, 60)) <= 0.05


def decided_when_nothing_is_there(levels):
  values = np.random.default_rng(0).standard_normal((20000, LOOKS[-1]))
  decided = np.zeros(len(values), dtype=bool)
  for seeds, level in zip(LOOKS, levels, strict=True):
    decided |= stats.ttest_1samp(values[:, :seeds], 0, axis=1).pvalue <= level
  return decided.mean()


def test_wrong_decisions_stay_below_five_percent():
  corrected = decided_when_nothing_is_there([alpha_at(j) for j in range(1, 7)])
  assert 0.03 <= corrected <= 0.05
  assert decided_when_nothing_is_there([0.05] * 6) > 0.15
