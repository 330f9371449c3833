import dataclasses
import json

import pandas as pd
import pytest

from cnnlab.lab import Claim, Condition, Tuning
from cnnlab.lab.directory import open_sweep, save_experiment
from cnnlab.lab.report import texts as report_texts
from cnnlab.lab.report import variant_tables
from cnnlab.lab.report.environments import describe
from cnnlab.lab.report.tuning_tables import at_edge, tuned
from cnnlab.lab.report.verdict_words import (
  formula,
  interval_text,
  measured,
  more_seeds,
  seeds_used,
  uncertainty,
  verdict_table,
)
from cnnlab.lab.report.write import linked, recipe, write_report
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.summary import summarize
from cnnlab.lab.statistics.verdicts import Verdict
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_lines, write_run

RATES = {"optim.learning_rate": (0.05, 0.1, 0.2)}


def texts(table):
  return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
  """A report with a tuning, a regime, training-set errors, and seeds that confirm the claims."""
  experiment = make_experiment(
    variants={"base": {}, "better": {"model.name": "resnet"}},
    seeds=(0, 1, 2),
    claims=(Claim("better is better", "better", "<", "base", "a paper"),),
    tuning=Tuning(RATES, overrides={"epochs": 3.0}),
    tuned={"base": {"optim.learning_rate": 0.1}, "better": {"optim.learning_rate": 0.2}},
    regime=(Condition("the nets fit their training set", "trainset/error", "<=", 0.01, ("b*r",)),),
    confirmed_by=(100, 101),
  )
  directory = tmp_path_factory.mktemp("runs") / "toy"
  save_experiment(directory, experiment)
  for label in experiment.variants:
    for seed in (0, 1, 2, 100, 101):
      write(directory / label / f"seed{seed}", experiment.settings(label), seed, 0.2)
    for setting, tried in experiment.tuning.settings.items():
      keys = experiment.settings(label) | experiment.tuning.shared | tried
      run = directory / label / "tuning" / setting / "seed1000"
      write(run, keys, 1000, 0.1 + abs(tried["optim.learning_rate"] - 0.1))
  return write_report(directory, tmp_path_factory.mktemp("report"))


def write(run, keys, seed, error):
  error += 0.001 * (seed % 7) * (2 if keys.get("model.name") else 1)
  steps = {"steps_per_epoch": 10, "train_examples": 1000, "eval_examples": 200}
  derived = {**steps, "learning_rate": keys["optim.learning_rate"], "image_shape": [8, 8, 1]}
  write_run(run, errors=(0.5, error), config=keys | {"seed": seed}, derived=derived)
  rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  write_lines(run / "metrics.jsonl", [*rows[:-1], rows[-1] | {"trainset/error": 0.05}])


def test_tuning_shows_every_setting_the_choice_its_edge_and_its_cost(everything):
  text = everything.markdown.read_text()
  row = next(line for line in text.splitlines() if line.startswith("| better | 16.20"))
  assert "(chosen)" in row
  assert "optim.learning\\_rate = 0.2 (at the edge of the grid)" in row
  assert "| base | 15.60 | **10.60** (chosen) | 20.60 | optim.learning\\_rate = 0.1 |" in text
  assert "may lie beyond it: better (optim.learning\\_rate = 0.2)." in text
  assert "Tuning took 6 runs and 24.0 s of training, the results 10 runs and 40.0 s." in text
  assert "10 % of the training set, held out, with seeds 1000 and epochs = 3.0" in text
  assert "tuning.csv" in [path.name for path in everything.tables]


def test_tuning_by_the_training_set_is_stated_and_small_values_keep_two_digits():
  tuning = Tuning({"optim.momentum": (0.5, 0.9)}, metric="trainset/cross_entropy")
  experiment = make_experiment(tuning=tuning, tuned={"base": {"optim.momentum": 0.9}})
  text = report_texts.tuning(experiment)
  assert "without 10 % of the training set, with seeds 1000." in text
  assert "best mean training-set cross-entropy at the last evaluation" in text
  other = dataclasses.replace(experiment, tuning=dataclasses.replace(tuning, metric="eval/loss"))
  text = report_texts.tuning(other)
  assert "on 10 % of the training set, held out, with seeds 1000." in text
  assert "best mean loss at the last evaluation" in text
  rows = [("base", "momentum=0.5", 1.5, "done", 1.0), ("base", "momentum=0.9", 0.0012, "done", 1.0)]
  tried = pd.DataFrame(rows, columns=["variant", "setting", "value", "status", "seconds"])
  table = tuned(experiment, tried, tried).table
  assert texts(table)[0][1:3] == ["1.5000", "0.0012"]
  waiting = tuned(experiment, tried.assign(value=float("nan")), tried).table
  assert texts(waiting)[0][1:3] == ["–", "–"]


def test_confirming_seeds_have_a_table_of_their_own(everything):
  text = everything.markdown.read_text()
  assert "on seeds 100, 101 alone" in text
  assert text.index("## Verdicts") < text.index("## Confirmation") < text.index("## Results")
  assert [found.pairs for found in everything.verdicts] == [3]
  assert [found.pairs for found in everything.confirmed] == [2]
  assert "confirmation.csv" in [path.name for path in everything.tables]
  assert "3 of 3" in text


def test_regime_shows_what_is_required_and_what_was_found(everything):
  table = variant_tables.regime(everything.experiment, everything.runs)
  assert [column.heading for column in table.columns] == ["variant", "training-set error <= 1 %"]
  assert texts(table) == [["base", "–"], ["better", "5.00, not met"]]
  assert everything.verdicts[0].verdict == "not tested"
  assert "the nets fit their training set" in everything.html.read_text()
  assert variant_tables.regime(make_experiment(), everything.runs) is None


def test_results_show_the_training_set_and_the_gap_if_they_are_known(everything, sweep):
  table = variant_tables.results(everything.experiment, everything.summary)
  headings = [column.heading for column in table.columns]
  assert headings[2:4] == ["on the training set", "gap (points)"]
  assert texts(table)[0][2:4] == ["5.00", "15.10"]
  old = make_experiment()
  summary = summarize(collect(sweep, old), "base")
  assert "on the training set" not in [
    c.heading for c in variant_tables.results(old, summary).columns
  ]


def test_recipe_says_what_all_share_and_what_differs(everything):
  found = recipe.read(everything.html.parent, everything.runs.iloc[:0])
  assert found == ({}, {}, ())
  text = everything.markdown.read_text()
  assert "| length | 2 epochs, 20 steps |" in text
  assert "1,000 training and 200 test examples, 8x8x1" in text
  assert "| variant | network | learning rate |" in text
  assert "| better | resnet | 0.2 |" in text


def test_recipe_spells_optimizer_schedule_and_augmentation():
  config = {
    "optim.name": "sgd", "optim.momentum": 0.9, "optim.nesterov": True, "optim.clip_norm": 1.0,
    "optim.learning_rate": 0.1, "derived.learning_rate": 0.4, "optim.reference_batch": 32,
    "optim.weight_decay": 5e-4, "optim.decay_all": False, "optim.b1": 0.9,
    "schedule.name": "step", "schedule.boundaries": [0.5, 0.75], "schedule.factor": 0.1,
    "derived.warmup_steps": 20, "data.crop_padding": 4, "data.pad_mode": "reflect",
    "data.flip": True, "data.centering": "channel", "batch_size": 128, "accumulate": 2,
  }  # fmt: skip
  found = recipe.describe(config)
  assert found["optimizer"] == "sgd, momentum 0.9, nesterov yes, gradient norm up to 1"
  assert found["learning rate"] == "0.4 (0.1 for batches of 32)"
  assert found["weight decay"] == "0.0005, weights only"
  assert found["schedule"] == "step, boundaries 0.5, 0.75, factor 0.1, warm-up of 20 steps"
  assert found["augmentation"] == "random crops, padding 4 (reflect), random flips"
  assert found["batch size"] == "128, in 2 parts"
  assert "data" not in found


@pytest.mark.parametrize(
  ("name", "published"),
  [
    ("go:/home/me/games.tsv", "go:games.tsv"),
    ("folder:~/flowers", "folder:flowers"),
    ("go:games/mine.tsv", "go:games/mine.tsv"),
    ("tfds:cifar10", "tfds:cifar10"),
    ("digits", "digits"),
  ],
)
def test_a_report_leaves_the_folders_of_a_data_set_out(name, published):
  found = recipe.describe({"data.name": name})
  assert found["data"] == published
  everywhere = make_experiment(overrides={"data.name": name}, variants={"base": {}, "better": {}})
  assert variant_tables.overrides(everywhere)[""] == {"data.name": f'"{published}"'}
  own = make_experiment(variants={"base": {}, "better": {"data.name": name}})
  assert variant_tables.overrides(own)["better"] == {"data.name": f'"{published}"'}


def test_a_run_whose_config_is_damaged_is_named(tmp_path):
  directory = open_sweep(make_experiment(), tmp_path)
  write_run(directory / "base" / "seed0")
  (directory / "base" / "seed0" / "config.json").write_text("{")
  report = write_report(directory)
  assert "No readable config: base, better, twin, shaky." in report.markdown.read_text()


def test_edges_of_a_grid_are_found_among_numbers_alone():
  tuning = Tuning({"a": (1, 2, 3), "b": ("x", "y"), "c": (1,), "d": (False, True)})
  assert at_edge(tuning, {"a": 3, "b": "x", "c": 1, "d": True}) == ["a"]
  assert at_edge(tuning, {"a": 2}) == []


def verdict(name, **fields):
  claim = fields.pop("claim", Claim("a", "x", "<", "y", "-", metric="eval/error"))
  return Verdict(claim, name, "", 5, **({"left_seeds": 5, "right_seeds": 5} | fields))


def test_more_seeds_have_a_direction_and_a_range_or_are_unknown():
  known = {"more_seeds": 12.0, "more_low": 7.0, "more_high": 60.0, "toward": "fails"}
  found = verdict("inconclusive", **known)
  assert more_seeds(found) == "about 12 (7 to 60) more would probably show that it fails"
  endless = found._replace(more_high=float("inf"))
  assert "(7 to over 1,000)" in more_seeds(endless)
  assert more_seeds(verdict("inconclusive")) == "unknown"
  assert more_seeds(verdict("holds", more_seeds=0.0)) == "none"
  assert more_seeds(verdict("not tested")) == "–"
  invitation = " ".join(report_texts.verdicts(make_experiment()))
  assert "Fix the number beforehand" in invitation
  assert "--until decided" in invitation
  assert "fresh seeds" in invitation


def test_a_verdict_says_over_what_and_what_pairing_brought():
  found = verdict("holds", over="seeds and images", correlation=0.24, pairing_gain=0.87)
  expected = "over seeds and images, correlation over seeds 0.24, pairing: standard error x 0.87"
  assert uncertainty(found._replace(interval_level=0.95)) == expected
  assert "at 97.5 %" in uncertainty(found._replace(interval_level=0.975))
  assert seeds_used(found._replace(right_seeds=7)) == "5 and 7"


def test_formulas_of_ratios_equalities_and_equal_costs():
  ratio = Claim("a", "x", "<=", "y", "-", metric="parameters", factor=0.5)
  assert formula(ratio) == "x <= 0.5 x y in parameters"
  equal = Claim(
    "a", "x", "==", "y", "-", metric="eval/error@step=500", margin=0.01, equal="seconds"
  )
  shown = "x == y ± 1 points in test error after 500 steps, at equal training time (within 10 %)"
  assert formula(equal) == shown


def test_numbers_have_the_digits_that_they_need():
  nan = float("nan")
  assert interval_text(4.123, -0.13, 8.38) == "4.12 (−0.13 to 8.38)"
  assert interval_text(-0.004, -0.0181, 0.0093) == "−0.004 (−0.018 to 0.009)"
  assert interval_text(-17_322, -17_322, -17_322) == "−17,322"
  assert interval_text(-7680, -7680, -7680) == "−7,680"
  assert interval_text(0, 0, 0, sign=True) == "0"
  assert interval_text(0.0, nan, nan) == "0.00"
  assert measured(verdict("inconclusive")) == "–"


def test_claims_are_numbered_as_in_the_plot():
  rows = texts(verdict_table([verdict("holds"), verdict("fails")]))
  assert [row[1] for row in rows] == ["1. a", "2. a"]


def test_links_are_made_of_arxiv_identifiers_alone():
  text = "arXiv:1412.6806, <b>table 3</b> & arXiv:cs/0112017"
  assert str(linked(text)) == (
    '<a href="https://arxiv.org/abs/1412.6806">arXiv:1412.6806</a>, &lt;b&gt;table 3&lt;/b&gt; &amp; '
    '<a href="https://arxiv.org/abs/cs/0112017">arXiv:cs/0112017</a>'
  )
  assert "href" not in linked('arXiv:"onclick=x')


def test_the_processor_is_named():
  assert "2 CPU cores (Some CPU)" in describe({"cpu_count": 2, "cpu_model": "Some CPU"})
  assert "2 CPU cores, " in describe({"cpu_count": 2, "platform": "Linux"})


def test_looks_are_told():
  assert "looked at its verdicts 3 times" in report_texts.verdicts(make_experiment(looks=3))[0]
  assert "looked" not in report_texts.verdicts(make_experiment())[0]
