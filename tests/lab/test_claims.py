"""The table of all claims, and its copy in the README."""

from pathlib import Path

from cnnlab.cli.main import main
from cnnlab.lab.report.claims import claims_markdown
from cnnlab.lab.report.write import write_report

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


def test_a_folder_without_reports_is_named(tmp_path, capsys):
  assert main(["report", str(tmp_path), "--claims"]) == 2
  assert "claims.csv" in capsys.readouterr().err


def test_readme_shows_the_committed_results(monkeypatch):
  monkeypatch.chdir(PROJECT)
  assert claims_markdown("experiments") in Path("README.md").read_text()
