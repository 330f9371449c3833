"""Intervals over seeds and images: against SciPy, against the bootstrap, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cnnlab.lab.statistics.crossed import Sample, difference, estimate, pairing
from tests.lab.layouts import draw


def sample(table):
  table = pd.DataFrame(table)
  return Sample(table.mean(axis=1), table)


def pigeonhole(generator, seeds, images, count):
  """Returns the weights of bootstrap samples that draw seeds and images independently."""
  of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
  of_images = generator.multinomial(images, np.full(images, 1 / images), count) / images
  return of_seeds, of_images


def means(weights, table):
  of_seeds, of_images = weights
  return np.sum(of_seeds * (of_images @ np.asarray(table, dtype=float).T), axis=1)


def test_without_images_it_is_students_t():
  generator = np.random.default_rng(0)
  left, right = (pd.Series(generator.normal(m, 1 + m, 6)) for m in (0, 1))
  found = difference(Sample(left), Sample(right), factor=0.5)
  expected = stats.ttest_rel(left, 0.5 * right)
  assert found.p_value == pytest.approx(expected.pvalue)
  assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
  assert found.over == "seeds"


def test_unpaired_without_images_it_is_welchs_test():
  generator = np.random.default_rng(1)
  left, right = pd.Series(generator.normal(0, 1, 5)), pd.Series(generator.normal(1, 3, 8))
  found = difference(Sample(left), Sample(right), paired=False)
  expected = stats.ttest_ind(left, right, equal_var=False)
  assert found.p_value == pytest.approx(expected.pvalue)
  assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
  assert found.size == 5


def test_components_of_a_layout_worked_by_hand():
  # Rows differ by 0.2 in the mean; the residuals are +-0.05, the columns' means 0.05 and 0.25.
  table = pd.DataFrame([[0.0, 0.1], [0.1, 0.4]])
  found = estimate([sample(table)])
  residual = 4 * 0.05**2 / 1  # mean square with one degree of freedom
  assert found.mean == pytest.approx(0.15)
  assert found.seeds_part == pytest.approx(0.02 / 2)  # var(0.05, 0.25) / 2
  assert found.images_part == pytest.approx(0.02 / 2 - residual / 4)
  total = found.seeds_part + found.images_part
  assert found.error == pytest.approx(math.sqrt(total))
  expected = total**2 / (found.seeds_part**2 + found.images_part**2)  # one degree each
  assert found.freedom == pytest.approx(expected)


def test_no_spread_is_no_test():
  same = sample(np.zeros((3, 50)))
  found = difference(same, same)
  assert (found.mean, found.low, found.high, found.p_value, found.error) == (0, 0, 0, 1, 0)
  once = estimate([sample(np.tile([0, 1, 1, 0], (4, 1)))])  # the same net four times
  assert math.isnan(once.p_value)
  assert math.isnan(once.low)
  assert math.isnan(estimate([sample([[0, 1, 0]])]).low)  # one seed
  assert estimate([Sample(pd.Series(dtype=float))]).size == 0


def test_equal_means_by_chance_are_still_a_test():
  # Both seeds have one error less, but on different images: the residual is not zero.
  table = np.zeros((2, 40))
  table[0, 3] = table[1, 17] = -1
  found = estimate([sample(table)])
  assert found.deviation == 0
  assert found.error == pytest.approx(math.sqrt(found.seeds_part))
  assert found.low < 0 < found.high


@pytest.mark.parametrize(("spread", "images_matter"), [(0.004, True), (0.03, False)])
def test_coverage_of_95_percent_intervals(spread, images_matter):
  generator = np.random.default_rng(2)
  weights = pigeonhole(generator, 5, 1000, 300)
  ours, bootstrap, seeds_alone = 0, 0, 0
  count = 300
  for _ in range(count):
    left, right = draw(generator, images=1000, spread=spread)
    found = difference(sample(left), sample(right))
    ours += found.low <= 0 <= found.high
    over_seeds = difference(sample(left)._replace(examples=None), sample(right))
    seeds_alone += over_seeds.low <= 0 <= over_seeds.high
    drawn = means(weights, left.astype(float) - right)
    bootstrap += np.quantile(drawn, 0.025) <= 0 <= np.quantile(drawn, 0.975)
  assert 0.925 <= ours / count <= 0.985  # 0.95 give or take two standard errors of the simulation
  if images_matter:
    # Images are most of the variance: seeds alone leave it out, the bootstrap counts chance thrice.
    assert seeds_alone < ours - 0.02 * count
  else:
    assert bootstrap < ours - 0.02 * count  # five seeds without Student's correction


def test_coverage_unpaired_and_of_single_means():
  generator = np.random.default_rng(3)
  unpaired, single, count = 0, 0, 300
  for _ in range(count):
    left, right = (sample(table) for table in draw(generator, images=1000))
    found = difference(left, right, paired=False)
    unpaired += found.low <= 0 <= found.high
    found = estimate([left])
    single += found.low <= 0.1 <= found.high
  assert 0.925 <= unpaired / count <= 0.985
  assert 0.925 <= single / count <= 0.985


def test_standard_error_agrees_with_the_pigeonhole_bootstrap():
  # Owen 2007, theorem 2: the bootstrap counts the residual three times, the rest once.
  generator = np.random.default_rng(4)
  left, right = draw(generator, seeds=40, spread=0.01)
  table = left.astype(float) - right
  found = difference(sample(left), sample(right))
  rest = table.to_numpy() - table.mean().to_numpy() - table.mean(axis=1).to_numpy()[:, None]
  rest = np.sum((rest + table.to_numpy().mean()) ** 2) / (39 * 1999) / table.size
  drawn = means(pigeonhole(generator, 40, 2000, 4000), table)
  assert found.error**2 + 2 * rest == pytest.approx(drawn.var(), rel=0.1)
  assert found.error == pytest.approx(drawn.std(), rel=0.1)


def test_what_pairing_buys():
  generator = np.random.default_rng(5)
  shared = generator.normal(0, 1, 200)
  left, right = (pd.Series(shared + generator.normal(0, 1, 200)) for _ in range(2))
  found = pairing(Sample(left), Sample(right))
  assert found.correlation == pytest.approx(np.corrcoef(left, right)[0, 1])
  assert found.gain == pytest.approx(math.sqrt(1 - found.correlation), rel=0.01)
  assert math.isnan(pairing(Sample(left[:2]), Sample(right[:2])).gain)
