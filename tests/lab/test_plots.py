import math

import matplotlib.colors
import pandas as pd
import pytest

from cnnlab.lab import Claim, Condition, Published
from cnnlab.lab.report import curves, figures, forest, limits, plots
from cnnlab.lab.report.looks import VERDICTS, looks
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.summary import summarize
from cnnlab.lab.statistics.verdicts import FAILS, HOLDS, INCONCLUSIVE, NOT_TESTED, Verdict, judge
from cnnlab.runs import load
from tests.lab.conftest import make_experiment


def legend_of(figure):
  return [text.get_text() for text in figure.legends[0].get_texts()]


def note_of(figure):
  return figure._supxlabel.get_text()


@pytest.fixture(scope="module")
def tables(sweep):
  experiment = make_experiment()
  runs = collect(sweep, experiment)
  return experiment, runs, summarize(runs, "base")


def curve(values, epochs=None, whole=True, metric="eval/error"):
  epochs = epochs or range(1, len(values) + 1)
  return curves.Curve(pd.DataFrame({"epoch": epochs, metric: values}), whole)


def test_figures_name_their_axes(tables, sweep):
  experiment, runs, summary = tables
  logged = {"base": [curves.Curve(load(sweep / "base" / "seed0").metrics, True)]}
  drawn = [
    plots.error_bars(experiment, runs, summary),
    plots.differences(experiment, runs, summary),
    curves.learning_curves(experiment, logged, ["eval/error"]),
    forest.claims(experiment, judge(experiment, runs)),
  ]
  for figure in drawn:
    assert figure.axes[0].get_title(loc="left")
    assert all(axes.get_xlabel() for axes in figure.axes)
  assert "(%)" in drawn[0].axes[0].get_xlabel()
  assert "(points)" in drawn[1].axes[0].get_xlabel()
  assert "(points)" in drawn[3].axes[0].get_xlabel()
  assert drawn[2].axes[0].get_xlabel() == "training time (epochs)"
  line = drawn[2].axes[0].lines[0]
  assert line.get_xdata().tolist() == [1, 2, 3]
  assert line.get_ydata().tolist() == pytest.approx([60, 18, 20])
  assert line.get_marker() == "o"


def test_papers_figures_stretch_no_axis(tables):
  experiment, runs, summary = tables
  far = make_experiment(paper={"base": Published(0.95, "a paper")})
  near, other = (plots.error_bars(e, runs, summary).axes[0] for e in (experiment, far))
  assert near.get_xlim() == other.get_xlim()
  assert len(near.lines) == len(other.lines)


def test_the_training_set_stands_beside_the_test_set(tables):
  experiment, runs, _ = tables
  known = runs.assign(trainset=runs["value"] - 0.1)
  left, right = plots.error_bars(experiment, known, summarize(known, "base")).axes
  assert right.get_xlabel() == "training-set error (%)"
  assert left.get_xlabel() == "test error (%)"


def test_many_variants_share_panels_with_the_base_and_a_high_start_is_cut_off():
  variants = {f"v{i}": {"optim.learning_rate": 0.1 + i} for i in range(10)}
  experiment = make_experiment(variants=variants, base="v0", claims=(), paper={})
  epochs = list(range(1, 31))
  usual = [2 - 0.03 * epoch for epoch in epochs]
  logged = {label: [curve(usual, metric="train/loss")] for label in variants}
  logged["v9"] = [curve([15.0, *usual[1:]], metric="train/loss")]
  figure = curves.learning_curves(experiment, logged, ["train/loss"])
  shown = [[line.get_label() for line in axes.lines] for axes in figure.axes]
  assert shown == [[f"v{i}" for i in range(6)], ["v0", "v6", "v7", "v8", "v9"]]
  assert figure.axes[1].get_ylim()[1] < 2.1
  assert figure.axes[1].lines[-1].get_ydata()[0] == 15
  assert "The first steps of some curves are above" in note_of(figure)


def test_a_diverging_variant_and_a_diverged_run_hide_no_other_curve():
  experiment = make_experiment()
  usual = [0.5 - 0.01 * k for k in range(40)]
  logged = {label: [curve(usual)] for label in ("base", "better", "twin")}
  logged["shaky"] = [curve([2.0**k for k in range(40)])]
  logged["base"].append(curve([0.5, math.inf, 1e30, math.nan], whole=False))
  figure = curves.learning_curves(experiment, logged, ["eval/error"])
  assert figure.axes[0].get_ylim()[1] < 60
  assert "shaky lies outside the plotted range" in note_of(figure)
  assert "Runs that did not finish leave the plotted range" in note_of(figure)


def test_training_curves_stand_beside_test_curves_for_every_metric_that_is_named():
  claims = (
    Claim("faster", "better", "<", "base", "-", metric="eval/top1@step=100"),
    Claim("smaller", "better", "<", "base", "-", metric="parameters"),
  )
  regime = (Condition("fits", "trainset/error", "<=", 0.1),)
  experiment = make_experiment(claims=claims, regime=regime)
  assert curves.pairs(experiment) == {
    "error": ["train/error", "eval/error"],
    "top1": ["train/top1", "eval/top1"],
    "loss": ["train/loss", "eval/loss"],
  }
  table = pd.DataFrame({"epoch": [1, 2], "train/error": [0.2, 0.1], "eval/error": [0.3, 0.2]})
  logged = {"base": [curves.Curve(table, True)]}
  figure = curves.learning_curves(experiment, logged, ["train/error", "eval/error"])
  assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training error", "Test error"]
  assert curves.learning_curves(experiment, logged, ["train/loss", "eval/loss"]) is None


def test_one_evaluation_at_the_end_is_no_curve():
  table = pd.DataFrame({"epoch": [1, 2], "train/error": [0.2, 0.1], "eval/error": [math.nan, 0.2]})
  logged = {"base": [curves.Curve(table, True)]}
  figure = curves.learning_curves(make_experiment(), logged, ["train/error", "eval/error"])
  assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training error"]
  assert curves.learning_curves(make_experiment(), logged, ["eval/error"]) is None


def test_claims_are_drawn_in_one_panel_per_unit_with_their_margins_and_verdicts():
  experiment = make_experiment()
  fields = {"source": "-", "left": "better", "right": "base"}
  margin = Claim("a", relation="<=", metric="eval/error", margin=0.01, **fields)
  equal = Claim("b", relation="==", metric="eval/top1", margin=0.02, **fields)
  loss = Claim("c", relation=">", metric="train/loss", **fields)
  verdicts = [
    Verdict(margin, HOLDS, "", 4, difference=-0.03, low=-0.05, high=-0.01),
    Verdict(equal, NOT_TESTED, "", 4, difference=0.01, low=-0.03, high=0.05),
    Verdict(loss, FAILS, "", 4, difference=-0.5, low=-0.7, high=-0.3),
    Verdict(loss, INCONCLUSIVE, "", 0),
  ]
  figure = forest.claims(experiment, verdicts)
  points, losses = figure.axes
  names = [text.get_text() for text in points.get_yticklabels()]
  assert names == ["1: better <= base\ntest error", "2: better == base\ntest top-1 accuracy"]
  assert losses.get_xlabel() == "difference in training loss"
  edges = [line.get_xdata() for line in points.lines if line.get_color() == "#4d7a4d"]
  assert [round(float(edge[0]), 6) for edge in edges] == [1.0, -2.0, 2.0]
  colors = [matplotlib.colors.to_hex(line.get_color()).upper() for line in losses.lines]
  assert VERDICTS[FAILS].color in colors
  assert legend_of(figure) == ["holds", "fails", "inconclusive", "not tested", "claim true"]
  assert forest.claims(experiment, verdicts[3:]) is None


def test_equal_costs_are_not_drawn_and_nearly_equal_ones_share_a_place(tables):
  experiment, _, summary = tables
  assert plots.accuracy_against_cost(experiment, summary) is None
  cheaper = summary.assign(parameters=[1000, 1010, 500, 500])
  figure = plots.accuracy_against_cost(experiment, cheaper)
  assert [axes.get_xlabel() for axes in figure.axes] == ["parameters"]


def test_variants_look_different():
  assert len(set(looks([str(i) for i in range(30)]).values())) == 30


def test_values_that_would_flatten_the_others_are_no_typical_ones():
  assert limits.typical([10, 11, 12, 90, math.nan]).tolist() == [True, True, True, False, False]
  assert limits.typical([8.7, 8.75, 12]).all()  # a finding, not an outlier
  assert limits.typical([-50, 1, 2, 3]).tolist() == [False, True, True, True]
  assert limits.typical([10, 10.1, 30, 30.1]).all()
  assert limits.typical([0.1, 1e9]).all()
  assert not limits.typical([math.inf, math.nan]).any()


def test_limits_hold_intervals_unless_one_is_far_wider():
  low, high = limits.limits([1, 2, 3], [0.5, 1.5, 2.5], [1.5, 2.5, 3.5])
  assert low < 0.5
  assert high > 3.5
  low, high = limits.limits([1, 2, 3], [0.5, 1.5, -1e6], [1.5, 2.5, 1e6])
  assert -10 < low < 0.5
  assert 3.5 < high < 15
  assert limits.limits([math.nan], [math.nan], [math.nan]) is None


def test_a_mean_beyond_the_axis_is_an_arrow_with_its_value(tables):
  experiment, runs, _ = tables
  wild = runs.copy()
  wild.loc[wild["variant"] == "shaky", "value"] *= 100
  axes = plots.error_bars(experiment, wild, summarize(wild, "base")).axes[0]
  assert [line.get_marker() for line in axes.lines].count(">") == 1
  assert "2750" in [text.get_text() for text in axes.texts]


def test_figures_of_a_sweep(sweep, tables, tmp_path):
  experiment, runs, summary = tables
  drawn = figures.draw(sweep, experiment, runs, summary, judge(experiment, runs), tmp_path)
  assert list(drawn) == ["claims", "differences", "error_bars", "curves_error", "curves_loss"]
