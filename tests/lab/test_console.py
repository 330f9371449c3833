import io

from rich.console import Console

from cnnlab.lab.plan import REFUSED, RunSpec
from cnnlab.lab.report import console, wording
from cnnlab.lab.results import collect
from cnnlab.lab.statistics.summary import summarize
from cnnlab.lab.statistics.verdicts import judge
from cnnlab.runs.directory import STATUSES
from cnnlab.runs.table import runs_table
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_run


def shown(table, width=180):
  text = io.StringIO()
  Console(file=text, width=width).print(table)
  return text.getvalue()


def line_of(text, start):
  return next(line for line in text.splitlines() if line.lstrip("│ ").startswith(start))


def test_summary_in_percent_with_intervals(sweep):
  text = shown(console.summary_table(make_experiment(), summarize(collect(sweep), "base")))
  assert "Does <b>it</b> help & how?" in text
  assert "test error, %" in text
  better = line_of(text, "better")
  assert "18.75 ± 2.39" in better
  assert "−3.00 ± 1.30" in better
  assert "0.005" in better
  assert "1,000" in better
  assert "20,000" in better
  assert "base" in line_of(text, "base")
  assert "2 of 4: 1 diverged, 1 missing" in line_of(text, "shaky")
  caption = " ".join(text.split())
  assert "no mean or interval includes them" in caption
  assert "missing: never started" in caption


def test_costs_are_left_out_on_a_narrow_terminal(sweep):
  summary = summarize(collect(sweep), "base")
  narrow = shown(console.summary_table(make_experiment(), summary, 80), 80)
  assert "…" not in narrow
  assert "params" not in narrow
  assert "wider terminal" in narrow
  assert "params" in shown(console.summary_table(make_experiment(), summary, 180))


def test_paper_and_verdicts_on_the_terminal(sweep):
  runs, experiment = collect(sweep), make_experiment()
  assert "19.00" in line_of(
    shown(console.summary_table(experiment, summarize(runs, "base"))), "base"
  )
  text = shown(console.verdict_table(judge(experiment, runs)))
  assert line_of(text, "holds").split() == ["holds", "better", "is", "better"]
  assert "better < base + 1 points in test error: −3.00 (−4.30 to −1.70) points" in text


def test_runs_below_a_directory(sweep):
  text = shown(console.runs_table(runs_table(sweep), "runs"))
  assert "15 runs below runs" in text
  row = line_of(text, "better/seed0")
  assert "30/30" in row
  assert "17.00" in row
  assert "optim.learning_rate=0.2 seed=0" in row
  assert "DivergedError: loss is nan" in text
  assert "diverged: the loss" in text


def test_validation_errors_below_a_directory_are_told_from_test_errors(tmp_path):
  write_run(tmp_path / "tuning", config={"data.validation": 0.1})
  text = shown(console.runs_table(runs_table(tmp_path), "runs"))
  assert "validation error (%)" in text.splitlines()[2]
  write_run(tmp_path / "result")
  text = shown(console.runs_table(runs_table(tmp_path), "runs"))
  assert "│ validation error (%) │" in line_of(text, "tuning")
  assert "│ test error (%)       │" in line_of(text, "result")


def test_dry_run():
  specs = [
    RunSpec("a/seed0", "a", 0, "d", "p", {"x.y": "[bold]", "seed": 0}),
    RunSpec("b/seed0", "b", 0, "d", "p", {}, "done"),
    RunSpec("c/seed0", "c", 0, "d", "p", {}, "interrupted"),
  ]
  text = shown(console.plan_table(specs))
  assert "2 of 3 runs to do" in text
  assert "x.y='[bold]' seed=0" in line_of(text, "a/seed0")
  assert "skip" in line_of(text, "b/seed0")
  assert "resume" in line_of(text, "c/seed0")
  assert "absent: not started yet. interrupted: stopped before the end" in text


def test_every_status_that_needs_it_is_explained_once():
  assert set(wording.STATUSES) >= {"absent", "missing", "dead", "damaged", REFUSED}
  assert set(wording.STATUSES) >= set(STATUSES) - {"done", "running"}
  assert wording.explain_statuses(["queued", "done", "queued"]) == "queued: waiting for a worker"
  assert wording.explain_statuses(["done", "running"]) == ""


def test_wording():
  assert wording.describe_metric("eval/error").label == "test error (%)"
  validation = wording.describe_metric("eval/error", evaluated="validation")
  assert validation.label == "validation error (%)"
  assert wording.describe_metric("train/loss", evaluated="validation").label == "training loss"
  assert wording.describe_metric("eval/cross_entropy").label == "test cross-entropy (nats)"
  assert wording.describe_metric("multiply_adds").label == "multiply-adds"
  assert wording.inequality("a", "<=", "b", 0.0, validation, times=2 / 3) == "a <= 0.667 x b"
  counts = {99_999: "99,999", 270_896: "271 k", 11_689_512: "11.7 M", 4_089_184_256: "4.09 G"}
  assert {value: wording.count(value) for value in counts} == counts
  times = {12.34: "12.3 s", 245.0: "4 min 05 s", 7380.0: "2 h 03 min"}
  assert {value: wording.duration(value) for value in times} == times
  assert wording.with_interval(1.0, float("nan"), float("nan")) == "1.00"
  assert wording.number(float("nan")) == "–"
  probabilities = {0.0001: "< 0.001", 0.0432: "0.043", 0.5: "0.50"}
  assert {value: wording.probability(value) for value in probabilities} == probabilities
