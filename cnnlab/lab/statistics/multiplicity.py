"""Several claims, one probability of a wrong verdict: Holm's procedure over distinct contrasts.

A contrast is what an interval is about: left - factor x right in one measure. Claims that differ in
nothing but relation and margin are read off the same interval. Whenever it covers the true
difference, all of them are decided rightly or not at all, whatever their margins; so they need no
correction among themselves, and a report has as many tests as contrasts. What counts for a
contrast is the largest p-value of its claims: it is decided when all of them are.

Holm (Scandinavian Journal of Statistics 6, 1979) takes the m contrasts by rising p and decides the
first at alpha / m, the next at alpha / (m - 1), and so on; at the first one that is not decided as a
whole it stops, and every claim on it and on the later ones is decided at the level reached there
(Bonferroni over those that are left). The corrected p-value of a claim is the smallest alpha at which
this decides it. With one claim per contrast these are Holm's.

A verdict is a direction and not just a difference. That the probability of any wrong direction stays
below alpha is proven for independent contrasts (Shaffer 1980; Finner 1999, Annals of Statistics
27:274) and, since a direction costs alpha / 2, for any two; for contrasts that share variants it is
simulated in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from cnnlab.lab.claim import Claim


class Corrected(NamedTuple):
  """What a claim's p-value is worth among all claims.

  Attributes:
    p_value: corrected; NaN if there is no test.
    share: the claim is decided at alpha / share.
  """

  p_value: float
  share: int


def contrast(claim: Claim) -> Hashable:
  """Returns what a claim's interval is about, the same for both orders of its sides."""
  if claim.left <= claim.right:
    return claim.left, claim.right, claim.metric, round(claim.factor, 12)
  return claim.right, claim.left, claim.metric, round(1 / claim.factor, 12)


def correct(
  claims: Sequence[Claim], p_values: Sequence[float], alpha: float = 0.05
) -> list[Corrected]:
  """Returns what each claim's p-value is worth, in the order of the claims.

  Args:
    claims: all claims that need a test, with their metrics filled in.
    p_values: their p-values; NaN where no test is possible. Its contrast counts all the same.
    alpha: for `share`: probability of any wrong verdict.
  """
  groups: dict[Hashable, list[int]] = {}
  for index, claim in enumerate(claims):
    groups.setdefault(contrast(claim), []).append(index)
  largest = [_largest([p_values[index] for index in group]) for group in groups.values()]
  order = np.argsort(largest, kind="stable")
  members = list(groups.values())
  found = [Corrected(math.nan, len(groups))] * len(claims)
  reached = [0.0]  # reached[i]: the smallest alpha at which contrast i of the order is decided on
  share_now = len(groups)
  for rank, place in enumerate(order):
    if reached[rank] <= alpha:
      share_now = len(groups) - rank
    for index in members[place]:
      worth = [
        max(low, p_values[index] * (len(groups) - earlier)) for earlier, low in enumerate(reached)
      ]
      p_value = math.nan if math.isnan(p_values[index]) else min(1.0, *worth)
      found[index] = Corrected(p_value, share_now)
    reached.append(max(reached[-1], largest[place] * (len(groups) - rank)))
  return found


def _largest(p_values: Sequence[float]) -> float:
  return max((p for p in p_values if not math.isnan(p)), default=1.0)
