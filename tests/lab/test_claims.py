"""The table of all claims, and its copy in the README."""

from pathlib import Path

import pandas as pd

from cnnlab.cli.main import main
from cnnlab.lab import Claim
from cnnlab.lab.report.claims import claims_markdown, claims_table
from cnnlab.lab.report.write import write_report
from cnnlab.lab.statistics.verdicts import Verdict
from cnnlab.metrics import Metric
from tests.lab.conftest import make_experiment

PROJECT = Path(__file__).resolve().parents[2]


def test_one_row_per_claim_with_both_sides_and_a_link(sweep, tmp_path, monkeypatch):
  write_report(sweep, tmp_path / "experiments/toy/results")
  monkeypatch.chdir(tmp_path)
  head, rule, row = claims_markdown("experiments").splitlines()
  assert head.count("|") == rule.count("|") == row.count("|") == 7
  assert "[toy](experiments/toy/results/report.md)" in row
  assert row.startswith("| better is better: better &lt; base + 1 points |")
  assert "| −3.00 (−4.30 to −1.70) points in test error, 4 seeds |" in row
  assert "| a paper |" in row  # it has only one of the two figures
  assert row.endswith("| **holds** |")


def test_papers_figures_of_both_sides_are_shown(sweep, tmp_path):
  report = write_report(sweep, tmp_path)
  table = report.tables[2].read_text().splitlines()
  assert table[0].endswith("paper_left,paper_right")
  assert table[1].endswith(",,0.19")
  (tmp_path / "claims.csv").write_text("\n".join([table[0], table[1][:-5] + "0.18,0.19", ""]))
  assert "18.00 against 19.00 % (a paper)" in claims_markdown(tmp_path)


def test_metrics_are_shown_as_the_task_declares_them(tmp_path):
  claim = Claim("higher", "better", ">", "base", "a paper", metric="eval/map")
  declared = (Metric("map", "mAP", "%", 100.0, "max"), Metric("error", "misses", "%", 100.0))
  experiment = make_experiment(claims=(claim,), metric="eval/error", declared=declared)
  values = {"variant": ["base", "better"] * 2, "seed": [0, 0, 1, 1], "eval/map": [0.4, 0.5] * 2}
  errors = {"value": 0.3, "trainset": [0.1, 0.2] * 2, "status": "done", "confirms": False}
  runs = pd.DataFrame(values | errors)
  found = Verdict(claim, "holds", "", pairs=2, difference=0.1, low=0.05, high=0.15)
  claims_table(experiment, [found], runs).to_csv(tmp_path / "claims.csv", index=False)
  row = claims_markdown(tmp_path)
  assert "+10.00 (5.00 to 15.00) points in test mAP, 2 seeds | 20.00 and 10.00 % |" in row


def test_only_claims_with_fresh_seeds_have_a_second_verdict(tmp_path):
  experiment = make_experiment()
  claim = Claim("it is better", "better", "<", "base", "a paper", metric="eval/error")
  first = Verdict(claim, "inconclusive", "", pairs=4)
  claims_table(experiment, [first]).to_csv(tmp_path / "claims.csv", index=False)
  for pairs, shown in (
    (8, "**inconclusive**; on 8 fresh seeds: **holds** |"),
    (0, "**inconclusive** |"),
  ):
    fresh = Verdict(claim, "holds", "", pairs=pairs)
    table = claims_table(experiment, [fresh], confirms=True)
    table.to_csv(tmp_path / "confirmation.csv", index=False)
    assert claims_markdown(tmp_path).splitlines()[2].endswith(shown)


def test_a_folder_without_reports_is_named(tmp_path, capsys):
  assert main(["report", str(tmp_path), "--claims"]) == 2
  assert "claims.csv" in capsys.readouterr().err


def test_readme_shows_the_committed_results(monkeypatch):
  monkeypatch.chdir(PROJECT)
  assert claims_markdown("experiments") in Path("README.md").read_text()
