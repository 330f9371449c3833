import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cnnlab.errors import ConfigError
from cnnlab.lab.claim import Claim, Condition
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.multiplicity import correct
from cnnlab.lab.statistics.power import seeds_needed
from cnnlab.lab.statistics.verdicts import judge
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


@pytest.mark.parametrize(
  ("margin", "expected"),
  [(2.5, "holds"), (2.4, "inconclusive"), (0.75, "inconclusive"), (0.65, "fails")],
)
def test_equality_is_two_one_sided_tests(margin, expected):
  # The interval of the sleep data is 0.70 to 2.46, in one order of the sides or the other.
  runs = table(sleep=SLEEP, zero=ZERO)
  for sides in (("sleep", "zero"), ("zero", "sleep")):
    found = one(runs, sides[0], "==", sides[1], margin=margin)
    assert found.verdict == expected
    nearer = math.copysign(margin, found.difference)
    values = np.array(SLEEP) * math.copysign(1, found.difference)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, nearer).pvalue)


def test_a_difference_is_no_equality():
  # "0.8 is as good as 0.5" used to hold at a difference of -3.1 points.
  runs = table(a=(0.10, 0.11, 0.12, 0.1), b=(0.131, 0.142, 0.149, 0.133))
  assert one(runs, "a", "==", "b", margin=0.01).verdict == "fails"
  assert one(runs, "a", "<=", "b", margin=0.01).verdict == "holds"


def test_ratios():
  runs = table(small=(1.0, 1.1, 0.9, 1.0), large=(2.5, 2.6, 2.4, 2.7))
  found = one(runs, "small", "<=", "large", factor=0.5)
  assert found.verdict == "holds"
  assert found.difference == pytest.approx(1.0 - 0.5 * 2.55)
  assert one(runs, "small", "<=", "large", factor=0.3).verdict == "fails"
  assert one(runs, "small", "<=", "large", metric="parameters", factor=0.5).verdict == "fails"


def test_claims_at_equal_cost():
  runs = table(it=(0.1, 0.11, 0.12), the_other=(0.3, 0.33, 0.31))
  equal = {"equal": "parameters", "tolerance": 0.1}
  found = one(runs, "it", "<", "the_other", **equal)
  assert found.verdict == "not tested"
  assert found.note == "not at equal parameters (within 10 %): it 200, the_other 900"
  assert math.isnan(found.p_corrected)
  assert math.isnan(found.more_seeds)
  assert found.difference < 0  # what was measured is shown all the same
  assert one(runs, "it", "<", "the_other", **(equal | {"tolerance": 0.8})).verdict == "holds"
  assert one(runs.drop(columns="parameters"), "it", "<", "the_other", **equal).note.endswith(
    "it unknown, the_other unknown"
  )


def test_outside_the_regime_nothing_is_tested():
  runs = table(a=(0.1, 0.11, 0.12), b=(0.3, 0.33, 0.31)).assign(**{"trainset/error": 0.34})
  regime = (Condition("the nets fit", "trainset/error", "<=", 0.05, ("b",)),)
  claims = [("a", "<", "b", {}), ("a", "<", "b", {"metric": "parameters", "margin": 1.0})]
  error, size = verdicts(runs, *claims, regime=regime)
  assert error.verdict == "not tested"
  assert error.note == (
    "outside the regime (the nets fit): training-set error of b is 34 %, required: <= 5 %"
  )
  assert size.verdict == "holds"  # the same in every regime
  fits = runs.assign(**{"trainset/error": [0.9] * 3 + [0.04, 0.06, 0.049]})
  assert verdicts(fits, claims[0], regime=regime)[0].verdict == "holds"
  unknown = verdicts(runs.drop(columns="trainset/error"), claims[0], regime=regime)[0]
  assert unknown.verdict == "not tested"
  assert "is unknown, required" in unknown.note
  fits.loc[fits["variant"] == "a", "status"] = "missing"
  absent = verdicts(fits, claims[0], regime=regime)[0]
  assert absent.verdict == "not tested"
  assert absent.note == "no finished run of a; a: 3 missing"


def test_claims_that_are_not_tested_count_in_the_correction():
  runs = table(a=(0.1, 0.12, 0.12), b=(0.3, 0.35, 0.31), c=(0.1, 0.1, 0.2))
  regime = (Condition("never", "value", "<=", -1.0, ("c",)),)
  first, second = verdicts(runs, ("a", "<", "b", {}), ("a", "<", "c", {}), regime=regime)
  assert second.verdict == "not tested"
  assert first.p_corrected == pytest.approx(2 * first.p_value)


def test_one_seed_says_nothing_about_how_many_more():
  for seeds in ((), (0.1,)):
    found = one(table(a=seeds or (None,), b=(0.9,) * max(1, len(seeds))), "a", "<", "b")
    assert math.isnan(found.more_seeds)
    assert found.toward == ""


def test_more_seeds_have_a_direction_and_an_uncertainty():
  runs = table(a=(0.0, 0.3, 0.2), b=(0.1, 0.3, 0.4))
  found = one(runs, "a", "<", "b")
  assert found.toward == "holds"
  assert one(runs, "b", "<", "a").toward == "fails"
  assert found.more_low < found.more_seeds < found.more_high
  assert found.more_low == max(1, seeds_needed(0.1 + 0.1 / math.sqrt(3), 0.1, 0.95) - 3)
  decided = one(table(a=(0.1, 0.12, 0.11), b=(0.9, 0.91, 0.93)), "a", "<", "b")
  assert (decided.more_seeds, decided.more_low, decided.toward) == (0, 0, "")


def test_test_images_limit_what_seeds_can_decide():
  assert seeds_needed(0.01, 0.01, 0.95) < 15
  assert seeds_needed(0.01, 0.01, 0.95, images_part=0.001**2) < 15
  assert seeds_needed(0.01, 0.01, 0.95, images_part=0.01**2) == math.inf


def test_each_look_has_a_part_of_the_level():
  runs = table(sleep=SLEEP, zero=ZERO)
  claim = ("sleep", ">", "zero", {"margin": 0.4})
  alone = verdicts(runs, claim)[0]
  assert alone.p_value == pytest.approx(0.01416, abs=1e-5)
  first, second = (verdicts(runs, claim, looks=look)[0] for look in (1, 2))
  assert (first.verdict, second.verdict) == ("holds", "inconclusive")
  assert second.p_corrected == pytest.approx(4 * alone.p_value)
  assert second.interval_level == pytest.approx(1 - 0.0125)
  assert second.low < 0.4 < alone.low


def test_unpaired_seeds():
  left, right = (0.10, 0.14, 0.11, 0.13), (0.2, 0.23, 0.21, 0.26, 0.22)
  found = verdicts(table(a=left, b=right), ("a", "<", "b", {}), pairing="none")[0]
  assert (found.left_seeds, found.right_seeds, found.pairs) == (4, 5, 4)
  assert found.p_value == pytest.approx(stats.ttest_ind(left, right, equal_var=False).pvalue)
  paired = verdicts(table(a=left, b=right), ("a", "<", "b", {}))[0]
  assert (paired.left_seeds, paired.right_seeds, paired.pairs) == (4, 4, 4)
  assert paired.correlation == pytest.approx(np.corrcoef(left, right[:4])[0, 1])
  assert paired.pairing_gain > 0


def test_contrasts_that_share_a_variant_are_wrong_as_rarely():
  generator = np.random.default_rng(3)
  claims = [Claim("t", f"v{i}", "<", "base", "s", "m") for i in range(4)]
  wrong = 0
  for _ in range(2000):
    values = generator.standard_normal((5, 5))
    p_values = stats.ttest_1samp(values[:4] - values[4], 0, axis=1).pvalue
    wrong += any(one.p_value <= 0.05 for one in correct(claims, p_values))
  assert wrong / 2000 <= 0.06
