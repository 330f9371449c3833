import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cnnlab.errors import ConfigError
from cnnlab.lab.claim import Claim
from cnnlab.lab.multiplicity import correct
from cnnlab.lab.power import seeds_needed
from cnnlab.lab.results import collect
from cnnlab.lab.verdicts import judge
from tests.lab.conftest import make_experiment

# Gosset's sleep data (1908): ten paired differences, mean 1.58, t = 4.0621, p = 0.002833.
SLEEP = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)


def table(**variants):
  """A table of runs; None is a diverged run; a missing value is a run that was never started."""
  rows = [
    {"variant": label, "seed": seed, "value": value, "parameters": 100 * len(label)}
    | {"status": "diverged" if value is None else "done"}
    for label, values in variants.items()
    for seed, value in enumerate(values)
  ]
  return pd.DataFrame(rows)


def verdicts(runs, *claims, **changes):
  labels = runs["variant"].unique()
  claims = tuple(Claim("t", left, relation, right, "s", **o) for left, relation, right, o in claims)
  fields = {"base": labels[0], "variants": {label: {} for label in labels}, "paper": {}}
  return judge(make_experiment(claims=claims, **(fields | changes)), runs)


def one(runs, left, relation, right, **options):
  return verdicts(runs, (left, relation, right, options))[0]


ZERO = (0.0,) * 10


@pytest.mark.parametrize(
  ("left", "relation", "right", "margin", "expected"),
  [
    ("sleep", ">", "zero", 0.0, "holds"),
    ("sleep", "<=", "zero", 0.0, "fails"),
    ("zero", "<=", "sleep", 0.0, "holds"),
    ("zero", ">=", "sleep", 0.0, "fails"),
    ("sleep", ">=", "zero", 0.69, "holds"),  # the interval begins at 0.7001
    ("sleep", ">=", "zero", 0.71, "inconclusive"),
    ("sleep", "<=", "zero", 2.47, "holds"),  # and ends at 2.4599
    ("sleep", "<=", "zero", 2.45, "inconclusive"),
    ("sleep", ">", "zero", 2.47, "fails"),
    ("zero", ">=", "sleep", -2.47, "holds"),  # non-inferiority, with the sides exchanged
  ],
)
def test_verdict_is_read_off_the_interval(left, relation, right, margin, expected):
  runs = table(sleep=SLEEP, zero=ZERO)
  found = one(runs, left, relation, right, margin=margin)
  assert found.verdict == expected
  assert found.pairs == 10
  assert (found.more_seeds == 0) == (expected != "inconclusive")


def test_numbers_of_a_worked_example():
  found = one(table(sleep=SLEEP, zero=ZERO), "sleep", ">", "zero")
  assert found.difference == pytest.approx(1.58)
  assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
  assert found.p_value == pytest.approx(0.002833, abs=1e-6)
  assert found.p_corrected == found.p_value
  assert found.effect == pytest.approx(4.0621 / math.sqrt(10), abs=1e-4)
  shifted = one(table(sleep=SLEEP, zero=ZERO), "sleep", ">", "zero", margin=1.0)
  assert shifted.p_value == pytest.approx(stats.ttest_1samp(SLEEP, 1.0).pvalue)


def unlike(count):
  """Claims on as many contrasts."""
  return [Claim("t", f"v{index}", "<", "base", "s", "eval/error") for index in range(count)]


def test_holm_against_a_hand_worked_example():
  # Step by step: 0.01 <= 0.05/4, 0.0125 <= 0.05/3, 0.03 > 0.05/2, so 0.04 is not tested.
  found = correct(unlike(4), [0.03, 0.01, 0.04, 0.0125])
  assert [one.p_value for one in found] == pytest.approx([0.06, 0.04, 0.06, 0.04])
  assert [one.share for one in found] == [2, 4, 2, 3]
  assert correct([], []) == []


def test_a_claim_without_runs_counts_in_the_correction():
  first, second = correct(unlike(2), [0.03, math.nan])
  assert first.p_value == pytest.approx(0.06)
  assert math.isnan(second.p_value)
  assert first.share == 2
  runs = table(sleep=SLEEP, zero=ZERO, never=(None,) * 10)
  first, second = verdicts(
    runs, ("sleep", ">", "zero", {"margin": 0.6}), ("sleep", ">", "never", {})
  )
  assert one(runs, "sleep", ">", "zero", margin=0.6).verdict == "holds"
  assert first.verdict == "inconclusive"  # p = 0.032 alone, 0.065 as one of two
  assert (second.verdict, second.pairs, second.note) == ("inconclusive", 0, "never: 10 diverged")


def test_claims_on_one_contrast_are_one_test():
  # One interval, 0.70 to 2.46, says all of this; exchanged sides and their factor are the same too.
  runs = table(sleep=SLEEP, zero=ZERO)
  claims = [
    ("sleep", ">", "zero", {}),
    ("zero", "<", "sleep", {"margin": -0.6}),
    ("sleep", "==", "zero", {"margin": 3.0}),
    ("sleep", "<=", "zero", {"margin": 0.8}),
  ]
  for found, alone in zip(verdicts(runs, *claims), claims, strict=True):
    assert found.p_corrected == found.p_value
    assert found.verdict == one(runs, alone[0], alone[1], alone[2], **alone[3]).verdict
  doubled = [("sleep", ">", "zero", {"factor": 2.0}), ("zero", "<", "sleep", {"factor": 0.5})]
  assert all(v.p_corrected == v.p_value for v in verdicts(runs, *doubled))


def test_a_claim_that_is_undecided_does_not_undo_another_on_its_contrast():
  pair = [Claim("t", "a", ">", "b", "s", "m"), Claim("t", "a", ">", "b", "s", "m", margin=0.1)]
  other = Claim("t", "c", ">", "d", "s", "m")
  found = correct([*pair, other], [0.0001, 0.3, 0.04])
  # The contrast (c, d) comes first and is not decided at 0.025, so that all is decided at 0.025.
  assert [one.p_value for one in found] == pytest.approx([0.0002, 0.3, 0.08])
  assert [one.share for one in found] == [2, 2, 2]


def test_verdicts_follow_the_corrected_p_value():
  generator = np.random.default_rng(0)
  for _ in range(30):
    values = {
      name: generator.normal(shift, 1, 5) for name, shift in zip("abcd", (0, 1, 2, 4), strict=True)
    }
    claims = [("a", "<=", "b", {}), ("a", "<=", "c", {}), ("d", "<", "a", {}), ("c", ">", "b", {})]
    for found in verdicts(table(**values), *claims):
      assert (found.p_corrected <= 0.05) == (found.verdict in ("holds", "fails"))
      assert (found.p_value <= 0.05) == (not found.low <= 0 <= found.high)
      assert found.p_corrected >= found.p_value


def test_wrong_verdicts_are_as_rare_as_the_level_says():
  # All variants have the same distribution, so a decided claim is an error: in 5 % of the tables.
  generator = np.random.default_rng(1)
  claims = [("a", "<=", "b", {}), ("c", "<=", "d", {}), ("e", ">", "f", {}), ("g", "<", "h", {})]
  wrong = 0
  for _ in range(120):
    runs = table(**{name: generator.normal(0, 1, 4) for name in "abcdefgh"})
    wrong += any(v.verdict in ("holds", "fails") for v in verdicts(runs, *claims))
  assert 1 <= wrong <= 18  # binomial(120, 0.05), five standard deviations up


def test_seeds_needed_agree_with_simulation():
  needed = seeds_needed(1.0, 1.2, 0.95)
  values = np.random.default_rng(2).normal(1.0, 1.2, (4000, int(needed)))
  found = stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05
  assert 0.8 - 0.03 <= found.mean() <= 0.8 + 0.06  # rounding up to a whole seed adds power
  assert seeds_needed(0.0, 1.0, 0.95) == math.inf
  assert seeds_needed(1e-6, 1.0, 0.95) == math.inf
  # The printed table of Cohen (1988): d = 0.5, power 0.8, two-sided 5 %, one sample: 34.
  assert seeds_needed(0.5, 1.0, 0.95) == 34


def test_more_seeds_are_in_addition_to_finished_ones():
  found = one(table(a=(0.0, 0.3, 0.2), b=(0.1, 0.3, 0.4)), "a", "<", "b")
  assert found.verdict == "inconclusive"
  assert found.more_seeds == seeds_needed(-0.1, 0.1, 0.95) - 3


def test_an_override_without_effect_is_no_proof_of_no_loss():
  found = one(table(a=(0.1, 0.2, 0.3), b=(0.1, 0.2, 0.3)), "a", "<=", "b")
  assert (found.verdict, found.note) == ("inconclusive", "both sides give the same values")
  found = one(table(a=(0.1, 0.2), b=(0.2, 0.3)), "a", "<=", "b")
  assert (found.verdict, found.note) == ("inconclusive", "no spread over seeds, so no test")


def test_one_seed_decides_nothing():
  found = one(table(a=(0.1,), b=(0.9,)), "a", "<", "b")
  assert (found.verdict, found.pairs) == ("inconclusive", 1)
  assert found.difference == pytest.approx(-0.8)


def test_diverged_runs_withhold_a_verdict_in_their_favor():
  steady, better = (0.5, 0.52, 0.51, 0.5), (0.1, 0.12, 0.13, None)
  found = one(table(shaky=better, steady=steady), "shaky", "<", "steady")
  assert found.verdict == "inconclusive"
  assert found.note == "shaky: 1 diverged; the verdict would be 'holds' without the diverged runs"
  worse = tuple(None if v is None else v + 0.8 for v in better)
  found = one(table(shaky=worse, steady=steady), "shaky", "<", "steady")
  assert (found.verdict, found.note) == ("fails", "shaky: 1 diverged")
  high = {"mode": "max"}  # if higher is better, the missing values of diverged runs would be low
  found = verdicts(table(shaky=worse, steady=steady), ("shaky", "<", "steady", {}), **high)[0]
  assert found.verdict == "inconclusive"


def test_exact_metrics_need_no_test_and_no_correction():
  runs = table(big=(0.1, 0.2, 0.3, 0.25), it=(0.1, 0.25, 0.28, 0.3))
  alone = one(runs, "it", "<", "big")
  size, error = verdicts(runs, ("it", "<", "big", {"metric": "parameters"}), ("it", "<", "big", {}))
  assert (size.verdict, size.difference, size.more_seeds) == ("holds", -100, 0)
  assert math.isnan(size.p_value)
  assert error.p_corrected == alone.p_corrected
  assert one(runs, "it", ">=", "big", metric="parameters").verdict == "fails"


def test_other_metrics_are_collected(sweep):
  claim = Claim("t", "better", "<", "base", "s", metric="train/loss", margin=-0.02)
  found = judge(make_experiment(claims=(claim,)), collect(sweep, make_experiment(claims=(claim,))))
  assert found[0].difference == pytest.approx(-0.06)  # the training loss is twice the error
  assert found[0].verdict == "holds"


def test_missing_and_diverged_runs_are_named(sweep):
  claim = Claim("t", "shaky", ">", "base", "s")
  found = judge(make_experiment(claims=(claim,)), collect(sweep))[0]
  assert found.note == "shaky: 1 diverged, 1 missing"
  assert found.pairs == 2


def test_unknown_relation():
  with pytest.raises(ConfigError, match="relation"):
    make_experiment(claims=(Claim("t", "base", "=<", "better", "s"),))
