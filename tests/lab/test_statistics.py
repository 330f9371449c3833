import math

import numpy as np
import pandas as pd
import pytest

from cnnlab.lab.results import collect
from cnnlab.lab.statistics.summary import estimate, paired, summarize

# Two-sided 95 % quantiles of Student's t from printed tables, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}


@pytest.mark.parametrize("values", [(1.0, 2.0), (0.2, 0.5, 0.1), (3.0, 1.0, 4.0, 1.0, 5.0)])
def test_interval_against_the_printed_table(values):
  found = estimate(values)
  half = T95[len(values) - 1] * np.std(values, ddof=1) / math.sqrt(len(values))
  assert found.mean == pytest.approx(np.mean(values))
  assert found.half_width == pytest.approx(half, rel=3e-4)
  assert found.deviation == pytest.approx(np.std(values, ddof=1))


def test_p_value_of_a_worked_example():
  # Gosset's sleep data (1908): ten paired differences, t = 4.0621, p = 0.002833.
  extra = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)
  found = estimate(extra)
  assert found.mean == pytest.approx(1.58)
  assert found.p_value == pytest.approx(0.002833, abs=1e-6)
  assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_too_few_values_have_no_interval():
  assert estimate([]).size == 0
  assert math.isnan(estimate([]).mean)
  one = estimate([0.5])
  assert one.mean == 0.5
  assert math.isnan(one.low)
  assert math.isnan(one.p_value)


def test_no_spread():
  same = estimate([0.0, 0.0, 0.0])
  assert (same.low, same.high, same.p_value) == (0.0, 0.0, 1.0)
  assert math.isnan(estimate([0.1, 0.1]).p_value)


def test_differences_are_paired_by_seed():
  base = pd.Series({0: 0.20, 1: 0.30, 2: 0.10})
  other = pd.Series({2: 0.05, 1: 0.24, 5: 9.0})
  found = paired(other, base)
  assert found.size == 2
  assert found.mean == pytest.approx(-0.055)


def test_summary_of_a_sweep(sweep):
  table = summarize(collect(sweep), "base").set_index("variant")
  assert list(table.index) == ["base", "better", "twin", "shaky"]
  assert table.loc["base", "mean"] == pytest.approx(0.2175)
  assert math.isnan(table.loc["base", "difference"])
  better = table.loc["better"]
  expected = estimate([-0.03, -0.02, -0.04, -0.03])
  assert better["difference"] == pytest.approx(-0.03)
  assert better["p_value"] == pytest.approx(expected.p_value)
  assert better["pairs"] == 4
  # The numbers are those of the base: the differences have no spread, though the intervals do.
  assert table.loc["twin", ["difference_low", "difference_high", "p_value"]].tolist() == [0, 0, 1]
  assert (better["parameters"], better["multiply_adds"], better["seconds"]) == (1000, 20000, 6)
  assert better["ms_per_step"] == pytest.approx(10.0)


def test_runs_that_are_not_done_are_counted(sweep):
  row = summarize(collect(sweep), "base").set_index("variant").loc["shaky"]
  assert (row["asked"], row["done"], row["pairs"]) == (4, 2, 2)
  assert row["trouble"] == "1 diverged, 1 missing"
  assert row["mean"] == pytest.approx(0.275)


def test_summary_of_a_sweep_that_has_not_started(sweep):
  runs = collect(sweep).assign(status="missing", value=None)
  table = summarize(runs, "base")
  assert table["mean"].isna().all()
  assert table["trouble"].tolist() == ["4 missing"] * 4
