"""The report of a single run."""

import re
import shutil

import pandas as pd

from cnnlab.cli.main import main
from cnnlab.lab.report.run_report import write_run_report
from tests.runs.synthetic import write_run


def test_a_run_is_reported_on_one_page(digits_run, tmp_path, capsys):
  assert main(["report", str(digits_run), "--out", str(tmp_path / "page")]) == 0
  html = (tmp_path / "page" / "report.html").read_text()
  for id in (
    "results",
    "configuration",
    "cost",
    "per_class",
    "confusion",
    "calibration",
    "mistakes",
  ):
    assert f'<h2 id="{id}">' in html
  assert html.count("data:image/svg+xml;base64,") == 4
  assert not re.search(r'src="(?!data:)', html)
  text = (tmp_path / "page" / "report.md").read_text()
  assert "| optim.name | adam | sgd |" in text
  assert "| model.features | \\[8, 8\\] |" in text
  assert "data.dir" not in text
  last = pd.read_json(digits_run / "metrics.jsonl", lines=True).iloc[-1]
  assert f"| test error (%) | {100 * last['eval/error']:.2f} |" in text
  examples = pd.read_csv(tmp_path / "page" / "examples.csv")
  assert len(examples) == last["eval/count"]
  assert examples["error"].sum() == round(last["eval/error"] * len(examples))
  for name in re.findall(r"\]\(([^)]*)\)", text):
    assert (tmp_path / "page" / name).is_file()


def test_without_the_data_set_the_page_says_so(digits_run, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(digits_run, run)
  config = (run / "config.json").read_text()
  (run / "config.json").write_text(config.replace('"name": "digits"', '"name": "folder:nowhere"'))
  text = write_run_report(run).with_name("report.md").read_text()
  assert "No pictures, for want of the data set" in text
  assert "mistakes.png" not in text


def test_a_run_that_failed_is_reported_as_far_as_it_came(tmp_path):
  derived = {"features": {"image": {"kind": "image", "names": []}, "label": {"kind": "label", "names": ["a", "b"]}}}  # fmt: skip
  run = write_run(tmp_path / "run", status="failed", reason="DataError: <gone>", derived=derived)
  html = write_run_report(run).read_text()
  assert "DataError: &lt;gone&gt;" in html
  assert "the same command tries it again" in html
