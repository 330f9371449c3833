"""Limits of axes that one diverging run cannot stretch until nothing else can be told apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

STRETCH = 12.0  # a value that widens the range of the others by this factor is left out
MOST_LEFT_OUT = 0.25  # of all values; at least one


def typical(values: ArrayLike) -> np.ndarray:
  """Returns for each value whether an axis should hold it: all but NaN, infinity and outliers.

  From three values on, up to a quarter of them, at least one, are outliers if they lie at one end
  and the range of the others is `STRETCH` times smaller.

  Args:
    values: one per variant or claim.
  """
  array = np.asarray(values, dtype=float)
  kept = np.isfinite(array)
  order = np.flatnonzero(kept)[np.argsort(array[kept], kind="stable")]
  count = len(order)
  if count < 3:
    return kept
  for left_out in range(1, max(1, int(MOST_LEFT_OUT * count)) + 1):
    for rest, ends in (
      (order[:-left_out], order[-left_out:]),
      (order[left_out:], order[:left_out]),
    ):
      span = np.ptp(array[rest])
      # Of nearly equal values, none is an outlier because it is a little less equal.
      floor = max(span, 0.05 * np.abs(array[rest]).max())
      if len(rest) > 1 and np.ptp(array[order]) > STRETCH * floor:
        kept[ends] = False
        return kept
  return kept


def limits(
  centers: ArrayLike, lows: ArrayLike, highs: ArrayLike, include: Iterable[float] = ()
) -> tuple[float, float] | None:
  """Returns the ends of an axis that shows typical values with their intervals.

  An interval is shown whole unless it is far wider than the others and than the values' range.

  Args:
    centers: the values, in any unit.
    lows, highs: ends of each one's interval; NaN for none.
    include: further values to show, such as zero.

  Returns:
    The two ends with a margin of 6 %; None if there is nothing finite to show.
  """
  values = np.asarray(centers, dtype=float)
  kept = typical(values)
  inside = np.concatenate([values[kept], [x for x in include if np.isfinite(x)]])
  if not len(inside):
    return None
  low, high = float(inside.min()), float(inside.max())
  reaches = np.concatenate([np.asarray(lows, float)[kept], np.asarray(highs, float)[kept]])
  reaches = reaches[np.isfinite(reaches)]
  if len(reaches):
    widths = np.abs(
      np.concatenate([np.asarray(highs, float) - values, values - np.asarray(lows, float)])
    )
    usual = np.median(widths[np.isfinite(widths)])
    room = max(high - low, 3 * float(usual))
    low = max(min(low, float(reaches.min())), low - room)
    high = min(max(high, float(reaches.max())), high + room)
  margin = 0.06 * ((high - low) or abs(high) or 1.0)
  return low - margin, high + margin
