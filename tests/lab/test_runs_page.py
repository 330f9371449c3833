import html.parser
import json

import pytest

from cnnlab.cli.main import main
from cnnlab.errors import RunError
from cnnlab.lab.report import runs_page
from tests.runs.synthetic import write_run

HOSTILE = "</script><script>alert(1)</script><!--"


class Page(html.parser.HTMLParser):
  """Collects the tags and the content of each script of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.scripts, self.open = [], [], False
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.open = tag == "script"
    if self.open:
      self.scripts.append("")

  def handle_endtag(self, tag):
    self.open = False

  def handle_data(self, data):
    if self.open:
      self.scripts[-1] += data


def content_of(text):
  return json.loads(Page(text).scripts[0])


def test_rows_hold_status_metric_costs_and_the_keys_that_differ(tmp_path):
  write_run(tmp_path / "a", config={"optim.learning_rate": 0.2})
  write_run(tmp_path / "b", status="diverged", reason="DivergedError: loss is nan")
  found = content_of(runs_page.render(tmp_path))
  a, b = found["runs"]
  assert (a["run"], a["status"], a["metric"]) == ("a", "done", "test error (%)")
  assert (a["last"], a["step"], a["total"], a["seconds"], a["parameters"]) == (
    12.5,
    30,
    30,
    6,
    1000,
  )
  assert a["config"] == {"optim.learning_rate": "0.2"}
  assert found["keys"] == ["optim.learning_rate"]
  assert b["reason"] == "DivergedError: loss is nan"
  assert a["curves"]["test error (%)"] == [[10, 20, 30], [50, 25, 12.5]]
  assert "training loss" in a["curves"]


def test_the_errors_of_a_tuning_run_are_validation_errors(tmp_path):
  write_run(tmp_path / "a", config={"data.validation": 0.1})
  (tuning,) = content_of(runs_page.render(tmp_path))["runs"]
  assert tuning["metric"] == "validation error (%)"
  assert set(tuning["curves"]) == {"validation error (%)", "training loss"}


def test_names_of_runs_cannot_become_a_program(tmp_path):
  config = {"model.name": HOSTILE, "optim.learning_rate": 0.2}
  write_run(tmp_path / "a<img src=x>", config=config, status="failed", reason=HOSTILE)
  write_run(tmp_path / "b")
  text = runs_page.render(tmp_path)
  page = Page(text)
  assert len(page.scripts) == 2
  assert "img" not in page.tags
  assert "alert(1)</script>" not in text
  assert content_of(text)["runs"][0]["config"]["model.name"] == HOSTILE
  assert "innerHTML" not in text
  assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
  assert "default-src 'none'" in text


def test_damaged_runs_are_shown_and_infinite_values_are_none(tmp_path):
  write_run(tmp_path / "a", errors=(0.5, float("inf"), float("nan")))
  write_run(tmp_path / "b")
  (tmp_path / "b" / "config.json").write_text("[1]")
  a, b = content_of(runs_page.render(tmp_path))["runs"]
  assert a["last"] is None
  assert a["curves"]["test error (%)"] == [[10], [50]]
  assert (b["status"], b["config"]) == ("damaged", {})


def test_long_curves_are_thinned_and_keep_their_last_point(tmp_path):
  write_run(tmp_path / "a", errors=[1 / (1 + k) for k in range(500)])
  steps, values = content_of(runs_page.render(tmp_path))["runs"][0]["curves"]["test error (%)"]
  assert len(steps) == len(values) == runs_page.MOST_POINTS
  assert steps[-1] == 5000


def test_page_without_runs_and_a_missing_directory(tmp_path):
  assert content_of(runs_page.render(tmp_path))["runs"] == []
  with pytest.raises(RunError, match="does not exist"):
    runs_page.write_runs_page(tmp_path / "none", tmp_path / "page.html")


def test_command_writes_the_page(tmp_path, capsys):
  write_run(tmp_path / "runs" / "a")
  file = tmp_path / "new" / "page.html"
  assert main(["runs", str(tmp_path / "runs"), "--html", str(file)]) == 0
  assert capsys.readouterr().out.strip() == str(file)
  assert file.is_file()
