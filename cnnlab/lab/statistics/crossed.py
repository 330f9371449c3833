"""The uncertainty of a mean over seeds and test images: both are samples, and they are crossed.

Every seed of a variant is tested on the same images. A t interval over seeds takes these images for
the whole population; another test set would move all seeds together. In the layout
D[s, i] = mean + seed[s] + image[i] + residual[s, i] with random effects, the mean over everything has

    variance = var(seed) / S + var(image) / I + var(residual) / (S I),

which three mean squares estimate: `seeds_part` = var of the seeds' means / S holds the first and the
last term, `images_part` = var of the images' means / I - MS(residual) / (S I) the second. Components
that come out below zero are taken for zero: neither part is smaller than its term allows. This is
the analysis of studies with many readers and many cases, with its degrees of freedom: Hillis 2007,
Statistics in Medicine 26:596 (sum^2 / (seeds_part^2 / (S - 1))), and the same term for the images,
which only matters if there are few. Unpaired seeds of two variants add their parts (Welch); the
images stay shared.

Why no bootstrap: the percentile interval of the pigeonhole bootstrap, which draws seeds and images
independently, has the wrong size in both directions. It knows the seeds' spread from five values
without Student's correction, but counts the residual three times (Owen 2007, Annals of Applied
Statistics 1:386). The bootstrap-t, with the standard error from here, is better, but covers 2 to 3
points less than the interval here in the same simulations. Simulated coverage of 95 % intervals
(probit model of `tests/lab/layouts.py`, error 10 %, 5 seeds, 2,000 images; standard error of the
figures 0.006, of the bootstraps' 0.01):

    standard deviation over seeds, beside the residual   0      0.004  0.015
    difference of two variants: here                     0.975  0.963  0.936
                                pigeonhole percentile    0.986  0.978  0.898
                                pigeonhole bootstrap-t   0.968  0.936  0.916
                                t over seeds alone       0.866  0.915  0.939
    one variant's mean:         here                     0.957  0.949  0.948
                                pigeonhole percentile    0.968  0.968  0.924
                                t over seeds alone       0.661  0.764  0.917
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
SEEDS, SEEDS_AND_IMAGES = "seeds", "seeds and images"


class Estimate(NamedTuple):
  """A mean or difference of means with its t interval.

  Attributes:
    size: number of seeds; the smaller number, if two variants are not paired.
    mean, low, high: in the unit of the values; NaN if there are too few seeds.
    p_value: two-sided, for a mean of zero.
    deviation: sample standard deviation of the (differences of) seeds.
    error: standard error of the mean; 0 if the seeds have no spread, so that there is no test.
    freedom: degrees of freedom of `error`.
    seeds_part, images_part: what seeds and test images contribute to error^2.
    seeds_freedom: degrees of freedom of `seeds_part`.
    over: `seeds and images`, or `seeds` where results of single images are not known.
  """

  size: int
  mean: float = math.nan
  low: float = math.nan
  high: float = math.nan
  p_value: float = math.nan
  deviation: float = math.nan
  error: float = math.nan
  freedom: float = math.nan
  seeds_part: float = math.nan
  images_part: float = 0.0
  seeds_freedom: float = math.nan
  over: str = SEEDS

  @property
  def half_width(self) -> float:
    """Half the width of the interval: the x in mean ± x."""
    return (self.high - self.low) / 2

  def p_of(self, value: float) -> float:
    """Returns the two-sided p-value for a mean of `value`; NaN if there is no test."""
    if not self.error > 0:
      return math.nan
    return float(2 * stats.t.sf(abs(self.mean - value) / self.error, self.freedom))


class Sample(NamedTuple):
  """The runs of one variant, or their differences from another's.

  Attributes:
    values: a metric's value by seed.
    examples: its values on each test example [seeds x examples], of the same seeds; None if they
      are not known. `values` are their means. Columns tell test sets apart, by the labels.
    weight: factor in the sum that is estimated.
  """

  values: pd.Series
  examples: pd.DataFrame | None = None
  weight: float = 1.0


def estimate(samples: Sequence[Sample], level: float = LEVEL) -> Estimate:
  """Returns the sum of weight x mean over samples with independent seeds and the same images.

  Args:
    samples: one (a mean, or paired differences) or two (unpaired).
    level: confidence level of the interval.
  """
  over = SEEDS if any(s.examples is None for s in samples) else SEEDS_AND_IMAGES
  size = min(len(s.values) for s in samples)
  if size == 0:
    return Estimate(0, over=over)
  mean = float(sum(s.weight * s.values.mean() for s in samples))
  if size == 1:
    return Estimate(1, mean, over=over)
  counts = np.array([len(s.values) for s in samples])
  squares = np.array([s.weight**2 * _variance(s.values) for s in samples])
  deviation = math.sqrt(squares.sum())
  parts, images_part, images = squares / counts, 0.0, 2
  if over == SEEDS_AND_IMAGES:
    residuals, images_part, images = _by_images(samples)
    parts = np.maximum(parts, residuals)
  seeds_part = float(parts.sum())
  if seeds_part == 0:
    # If all differences are zero, the variants are the same run; any other constant value says
    # nothing about random variation.
    p_value, edge = (1.0, mean) if mean == 0 else (math.nan, math.nan)
    return Estimate(size, mean, edge, edge, p_value, deviation, 0.0, over=over)
  spread = float(np.sum(parts**2 / (counts - 1)))
  total = seeds_part + images_part
  freedom = total**2 / (spread + images_part**2 / (images - 1))
  error = math.sqrt(total)
  half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
  found = Estimate(
    size,
    mean,
    mean - half,
    mean + half,
    deviation=deviation,
    error=error,
    freedom=freedom,
    seeds_part=seeds_part,
    images_part=images_part,
    seeds_freedom=seeds_part**2 / spread,
    over=over,
  )
  return found._replace(p_value=found.p_of(0.0))


def difference(
  left: Sample, right: Sample, factor: float = 1.0, paired: bool = True, level: float = LEVEL
) -> Estimate:
  """Returns left - factor x right with its interval.

  Args:
    left, right: the runs of two variants.
    factor: of the right side.
    paired: whether seeds are compared with each other, those that both sides have; otherwise all
      seeds are used, and taken for independent.
    level: confidence level of the interval.
  """
  if not _same_images(left, right):
    left, right = left._replace(examples=None), right._replace(examples=None)
  if not paired:
    return estimate([left, right._replace(weight=-factor)], level)
  values = (left.values - factor * right.values).dropna()
  examples = None
  if left.examples is not None and right.examples is not None:
    ours, theirs = left.examples.loc[values.index], right.examples.loc[values.index]
    examples = ours.astype(float) - factor * theirs.astype(float)
  return estimate([Sample(values, examples)], level)


class Pairing(NamedTuple):
  """What comparing seed by seed buys.

  Attributes:
    correlation: of two variants over seeds; NaN below three seeds or without spread.
    gain: standard error of the paired comparison / of the unpaired one: below 1, pairing helped.
  """

  correlation: float = math.nan
  gain: float = math.nan


def pairing(left: Sample, right: Sample, factor: float = 1.0) -> Pairing:
  """Returns what pairing buys in the comparison of two variants, over the seeds that both have."""
  shared = left.values.index.intersection(right.values.index)
  if len(shared) < 3:
    return Pairing()
  left, right = (
    Sample(s.values[shared], None if s.examples is None else s.examples.loc[shared])
    for s in (left, right)
  )
  if not _variance(left.values) or not _variance(right.values):
    return Pairing()
  unpaired = difference(left, right, factor, paired=False).error
  gain = difference(left, right, factor).error / unpaired
  return Pairing(float(left.values.corr(right.values)), gain)


def _same_images(left: Sample, right: Sample) -> bool:
  if left.examples is None or right.examples is None:
    return False
  return left.examples.columns.equals(right.examples.columns)


def _variance(values: pd.Series) -> float:
  array = values.to_numpy(dtype=float)
  # Rounding is no spread.
  small = np.ptp(array) <= 1e-12 * np.abs(array).max()
  return 0.0 if small else float(array.var(ddof=1))


def _by_images(samples: Sequence[Sample]) -> tuple[np.ndarray, float, int]:
  """Returns each sample's residual term, the images' part, and the number of images."""
  residuals, of_images = [], 0.0
  for sample in samples:
    table = sample.weight * np.asarray(sample.examples, dtype=float)
    seeds, images = table.shape
    means = table.mean(axis=0)
    rest = table - means - table.mean(axis=1, keepdims=True) + table.mean()
    square = float(np.sum(rest**2)) / ((seeds - 1) * max(images - 1, 1))
    # Below this it is rounding: exact values would leave nothing.
    square = 0.0 if square <= 1e-24 * float(np.abs(table).max()) ** 2 else square
    residuals.append(square / (seeds * images))
    of_images = of_images + means
  part = float(np.var(of_images, ddof=1)) / images - sum(residuals) if images > 1 else 0.0
  return np.array(residuals), max(0.0, part), max(images, 2)
