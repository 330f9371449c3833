"""What an interval says about a claim.

A claim `left <= factor x right + margin` is about the mean of d = left - factor x right. It holds if
the interval of d is at or below the margin, fails if it is above the margin, and is inconclusive if
it covers the margin. `==` holds if the interval lies between -margin and margin, which is the
procedure of two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics
15:657), and fails if it lies outside. A margin of 0 tests superiority, and with `<=` a margin above 0
tests non-inferiority ("worse by no more than the margin").

A claim's p-value is the two-sided one of d = margin, for `==` of the nearer margin. So p <= 0.05
and a 95 % interval that excludes the margin are the same, and a claim that is on the margin is
decided wrongly with a probability of 2.5 %.
"""

from __future__ import annotations

import math

from cnnlab.lab.claim import Claim
from cnnlab.lab.statistics.crossed import Estimate

HOLDS, FAILS = "holds", "fails"


def direction(claim: Claim, difference: float) -> str:
  """Returns `holds` or `fails`: what a claim is if left - factor x right has this value."""
  holds = {
    "<=": difference <= claim.margin,
    "<": difference < claim.margin,
    ">=": difference >= claim.margin,
    ">": difference > claim.margin,
    "==": abs(difference) <= claim.margin,
  }[claim.relation]
  return HOLDS if holds else FAILS


def edge(claim: Claim, difference: float) -> float:
  """Returns the margin; of an equality, that which is nearer to the difference."""
  return math.copysign(claim.margin, difference) if claim.relation == "==" else claim.margin


def p_value(claim: Claim, found: Estimate) -> float:
  """Returns the two-sided p-value for a difference at the edge; NaN if there is no test."""
  return found.p_of(edge(claim, found.mean))
