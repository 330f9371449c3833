"""An independent script computes every verdict again from what a report commits."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cnnlab.lab import Claim, Condition, Experiment
from cnnlab.lab.directory import save_experiment
from cnnlab.lab.examples import FILE, load, write_examples
from cnnlab.lab.report.claims import claims_markdown, claims_table
from cnnlab.lab.report.write import write_report
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.summary import summarize
from cnnlab.lab.statistics.verdicts import confirm, judge
from tests.lab.layouts import draw
from tests.lab.recompute import differences_from_report, has_what_it_takes
from tests.runs.synthetic import write_run

ERRORS = {"base": 0.2, "good": 0.12, "near": 0.2, "bad": 0.3, "shaky": 0.1, "off": 0.3}
IMAGES = 1000
SEEDS, FRESH = (0, 1, 2, 3, 4), (7, 8, 9)
CLAIMS = (
  Claim("better", "good", "<", "base", "s"),
  Claim("no worse by a point", "good", "<=", "base", "s", margin=0.01),
  Claim("as good", "near", "==", "base", "s", margin=0.05),
  Claim("not as good", "good", "==", "bad", "s", margin=0.01),
  Claim("undecided", "near", "<", "base", "s"),
  Claim("half the error", "good", "<=", "bad", "s", factor=0.5),
  Claim("at most thrice", "bad", "<=", "good", "s", factor=3.2),
  Claim("small", "good", "<=", "base", "s", metric="parameters", factor=0.5),
  Claim("sooner", "good", "<", "base", "s", metric="eval/error@step=10"),
  Claim("on the whole", "good", "<", "bad", "s", metric="eval/error@area"),
  Claim("better, but it diverges", "shaky", "<", "base", "s"),
  Claim("outside", "off", ">", "base", "s"),
  Claim("small at equal cost", "good", "<", "near", "s", metric="parameters", equal="parameters"),
  Claim("at equal size", "good", "<", "near", "s", equal="parameters", tolerance=0.1),
)
REGIME = (Condition("it fits", "trainset/error", "<=", 0.05, ("o*",)),)


def make_experiment(**changes):
  fields = {
    "name": "toy", "question": "?", "config": "configs/digits.py", "base": "base",
    "variants": {label: {} for label in ERRORS}, "seeds": SEEDS, "confirmed_by": FRESH,
    "claims": CLAIMS, "regime": REGIME, "looks": 1,
  }  # fmt: skip
  return Experiment(**fields | changes)


def add_trainset(directory, value):
  path = directory / "metrics.jsonl"
  *rows, last = map(json.loads, path.read_text().splitlines())
  rows.append(last | {"trainset/error": value})
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  directory = tmp_path_factory.mktemp("runs") / "toy"
  generator = np.random.default_rng(0)
  seeds = SEEDS + FRESH
  tables = draw(generator, len(seeds), IMAGES, tuple(ERRORS.values()), spread=0.01)
  for label, table in zip(ERRORS, tables, strict=True):
    for seed, row in zip(seeds, table.to_numpy(), strict=True):
      run = directory / label / f"seed{seed}"
      error = float(row.mean())
      size = {"parameters": 400 if label == "good" else 1000}
      status = "diverged" if (label, seed) == ("shaky", 2) else "done"
      errors = (2 * error, 1.2 * error, error)
      write_run(run, errors=errors, status=status, config={"seed": seed}, derived=size)
      add_trainset(run, 0.1 if label == "off" else 0.01)
      np.savez_compressed(run / "per_example.npz", error=row, label=np.arange(IMAGES) % 10)
  save_experiment(directory, make_experiment())
  return directory


def write_tables(folder, sweep, experiment):
  """Writes what a report commits."""
  folder.mkdir(exist_ok=True)
  runs = collect(sweep, experiment)
  examples = load(sweep, runs, experiment.metric)
  verdicts, confirmed = judge(experiment, runs, examples), confirm(experiment, runs, examples)
  runs.to_csv(folder / "results.csv", index=False)
  claims_table(experiment, verdicts, runs).to_csv(folder / "claims.csv", index=False)
  fresh = claims_table(experiment, confirmed, runs, confirms=True)
  fresh.to_csv(folder / "confirmation.csv", index=False)
  write_examples(folder, examples)
  return verdicts, confirmed


def test_every_verdict_is_recomputed(sweep, tmp_path):
  verdicts, confirmed = write_tables(tmp_path, sweep, make_experiment())
  assert has_what_it_takes(tmp_path)
  assert differences_from_report(tmp_path) == []
  found = {v.claim.text: v.verdict for v in verdicts}
  assert found == {
    "better": "holds",
    "no worse by a point": "holds",
    "as good": "holds",
    "not as good": "fails",
    "undecided": "inconclusive",
    "half the error": "inconclusive",
    "at most thrice": "holds",
    "small": "holds",
    "sooner": "holds",
    "on the whole": "holds",
    "better, but it diverges": "inconclusive",
    "outside": "not tested",
    "small at equal cost": "not tested",
    "at equal size": "not tested",
  }
  assert [v.pairs for v in confirmed] == [3] * len(CLAIMS)
  over = {v.claim.text: v.over for v in verdicts}
  assert (over["better"], over["sooner"]) == ("seeds and images", "seeds")


def test_the_files_of_a_report_are_enough(sweep, tmp_path):
  write_report(sweep, tmp_path)
  assert differences_from_report(tmp_path) == []
  better = claims_markdown(tmp_path).splitlines()[2]
  assert "| 1.00 and 1.00 % | **holds**; on 3 fresh seeds: **" in better


@pytest.mark.parametrize("changes", [{"pairing": "none"}, {"looks": 0}, {"looks": 4}])
def test_other_designs_are_recomputed(sweep, tmp_path, changes):
  write_tables(tmp_path, sweep, make_experiment(**changes))
  assert differences_from_report(tmp_path) == []


def test_without_images_too(sweep, tmp_path):
  experiment = make_experiment()
  runs = collect(sweep, experiment)
  runs.to_csv(tmp_path / "results.csv", index=False)
  table = claims_table(experiment, judge(experiment, runs), runs)
  table.to_csv(tmp_path / "claims.csv", index=False)
  assert set(table["over"]) <= {"seeds", ""}
  assert differences_from_report(tmp_path) == []


def test_a_verdict_that_was_changed_is_found(sweep, tmp_path):
  write_tables(tmp_path, sweep, make_experiment())
  table = pd.read_csv(tmp_path / "claims.csv")
  table.loc[4, "verdict"] = "holds"
  table.loc[0, "low"] += 0.001
  table.to_csv(tmp_path / "claims.csv", index=False)
  found = differences_from_report(tmp_path)
  assert any("'undecided': verdict is holds, recomputed inconclusive" in line for line in found)
  assert any("'better': low is" in line for line in found)


def test_examples_are_read_from_the_runs(sweep, tmp_path):
  experiment = make_experiment()
  runs = collect(sweep, experiment)
  examples = load(sweep, runs, "eval/error")
  assert {label: table.shape for label, table in examples.items()} == {
    label: (7 if label == "shaky" else 8, IMAGES) for label in ERRORS
  }
  assert load(sweep, runs, "eval/cross_entropy") == {}  # not kept
  assert load(sweep, runs, "train/loss") == {}
  first, second = tmp_path / "a", tmp_path / "b"
  for folder in (first, second):
    folder.mkdir()
    write_examples(folder, examples)
  assert (first / FILE).read_bytes() == (second / FILE).read_bytes()
  read = pd.read_csv(first / FILE)
  assert read["good/seed8"].tolist() == examples["good"].loc[8].tolist()
  write_examples(first, {})
  assert not (first / FILE).exists()


@pytest.mark.parametrize("pairing", ["seeds", "none"])
def test_variants_on_test_sets_of_their_own_are_compared_over_their_images(tmp_path, pairing):
  sweep, folder = tmp_path / "toy", tmp_path / "report"
  labels = {"first": np.arange(600) % 10, "second": np.arange(600) % 5}
  tables = draw(np.random.default_rng(3), 3, 600, (0.2, 0.1, 0.2, 0.1))
  names = [f"{method}_{data}" for data in labels for method in ("base", "good")]
  for name, table in zip(names, tables, strict=True):
    for seed, row in enumerate(table.to_numpy()):
      run = sweep / name / f"seed{seed}"
      write_run(run, errors=(0.5, float(row.mean())), config={"seed": seed})
      label = labels[name.split("_")[1]]
      np.savez_compressed(run / "per_example.npz", error=row, label=label)
  claims = tuple(
    Claim(f"{left} {right}", left, "<", right, "s")
    for left, right in (
      ("good_first", "base_first"), ("good_second", "base_second"), ("good_first", "base_second")
    )
  )  # fmt: skip
  experiment = make_experiment(
    variants={name: {} for name in names}, base=names[0], seeds=(0, 1, 2), confirmed_by=(),
    claims=claims, regime=(), looks=0, pairing=pairing,
  )  # fmt: skip
  save_experiment(sweep, experiment)
  write_report(sweep, folder)
  over = pd.read_csv(folder / "claims.csv")["over"].tolist()
  assert over == ["seeds and images", "seeds and images", "seeds"]
  assert differences_from_report(folder) == []
  kept = pd.read_csv(folder / FILE)
  assert kept["good_second/seed0"].isna().tolist() == [True] * 600 + [False] * 600


def test_ten_thousand_examples_of_25_runs_are_small(tmp_path):
  tables = draw(np.random.default_rng(1), 5, 10_000, (0.1, 0.12, 0.15, 0.2, 0.3))
  path = write_examples(tmp_path, dict(zip("abcde", tables, strict=True)))
  assert path.stat().st_size < 100_000


def test_runs_without_their_examples_fall_back_to_seeds(sweep, tmp_path):
  runs = collect(sweep, make_experiment())
  lost = runs[~((runs["variant"] == "good") & (runs["seed"] == 1))]
  moved = pd.concat([lost, lost.iloc[:1].assign(variant="good", seed=1)])  # not its own results
  moved.loc[moved.index[-1], "value"] = 0.9
  assert "good" not in load(sweep, moved, "eval/error")


def test_summary_is_over_seeds_and_images(sweep):
  experiment = make_experiment()
  runs = collect(sweep, experiment)
  examples = load(sweep, runs, experiment.metric)
  table = summarize(runs, "base", examples=examples).set_index("variant")
  alone = summarize(runs, "base").set_index("variant")
  good = table.loc["good"]
  assert (good["over"], alone.loc["good", "over"]) == ("seeds and images", "seeds")
  assert (good["test_examples"], good["asked"], good["pairs"]) == (IMAGES, 5, 5)
  assert good["mean"] == pytest.approx(alone.loc["good", "mean"])
  assert good["trainset"] == pytest.approx(0.01)
  assert good["gap"] == pytest.approx(good["mean"] - 0.01)
  unpaired = summarize(runs, "base", examples=examples, pairing="none").set_index("variant")
  assert unpaired.loc["good", "difference"] == pytest.approx(good["difference"])
  assert unpaired.loc["good", "p_value"] != good["p_value"]


def test_confirmation_is_of_the_fresh_seeds_alone(sweep):
  experiment = make_experiment()
  runs = collect(sweep, experiment)
  fresh = confirm(experiment, runs)
  swapped = dataclasses.replace(experiment, seeds=FRESH, confirmed_by=(), looks=0)
  kept = runs[runs["seed"].isin(FRESH)]
  assert [v.p_value for v in judge(swapped, kept)] == pytest.approx(
    [v.p_value for v in fresh], nan_ok=True
  )
  assert confirm(dataclasses.replace(experiment, confirmed_by=()), runs) == []
