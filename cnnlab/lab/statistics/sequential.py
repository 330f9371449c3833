"""Looking at the verdicts repeatedly while seeds are added, without more wrong ones.

Who tests at 5 % after 5 seeds, again after 8, 12, 18 and 27, and stops as soon as something is
decided, errs in up to 16 % of all cases, not in 5 % (simulated, with t tests). So look j is taken at
alpha / 2^j: 2.5 %, 1.25 %, ... These add up to less than alpha however many looks there are; by the
union bound the probability that any look gives a wrong verdict is at most alpha, whatever the looks
have in common and whatever made one look again (simulated: 3.8 %). It is an alpha-spending function
in the sense of Lan and DeMets (Biometrika 70:659, 1983). Sharper boundaries need the looks' joint
distribution, which is not known for t statistics of few seeds on the same images.

A verdict is that of the last look alone: a claim that an earlier look decided is tested again, at
the level of the last. Whoever adds seeds to a sweep because its report was inconclusive is looking
repeatedly: that report was the first look, and its verdicts at the full alpha no longer count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

FIRST, GROWTH = 5, 1.5


def seeds_at_looks(first: int = FIRST) -> Iterator[int]:
  """Yields how many seeds each look has: 5, 8, 12, 18, 27, 41 and so on without end.

  Args:
    first: of the first look.
  """
  seeds = first
  while True:
    yield seeds
    seeds = math.ceil(GROWTH * seeds)


def alpha_at(look: int, alpha: float = 0.05) -> float:
  """Returns the probability of a wrong verdict that one look may have.

  Args:
    look: 1 for the first; 0 if the number of seeds was fixed beforehand, which gives all of alpha.
    alpha: that of all looks together.
  """
  return alpha / 2**look
