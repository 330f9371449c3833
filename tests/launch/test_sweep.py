"""A whole sweep with real training: two variants, two seeds, two steps each."""

import io
import json

import pytest
from rich.console import Console

from cnnlab.errors import ConfigError
from cnnlab.lab.files import load_experiment
from cnnlab.lab.report.write import write_report
from cnnlab.launch.settings import parse_settings
from cnnlab.launch.sweep import Launcher, sweep


def run(root, **options):
  text = io.StringIO()
  experiment = load_experiment("downsampling_digits", "tiny")
  console = Console(file=text, width=200)
  launcher = Launcher(**{"workers": 2} | options)
  done = sweep(experiment, root, only="max stride", seeds=2, launcher=launcher, console=console)
  return done, text.getvalue()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
  root = tmp_path_factory.mktemp("runs")
  return root, *run(root)


def test_all_runs_are_trained(first):
  _, done, text = first
  assert done.result.exit_code == 0, text
  assert len(done.result.outcomes) == 4
  for spec in done.specs:
    assert f"{spec.name}  test error " in text
    status = json.loads((done.directory / spec.name / "status.json").read_text())
    assert (status["status"], status["step"]) == ("done", 2)


def test_each_run_has_its_variants_config(first):
  _, done, _ = first
  for spec in done.specs:
    config = json.loads((done.directory / spec.name / "config.json").read_text())
    assert (config["seed"], config["model"]["downsample"]) == (spec.seed, spec.label)


def test_second_time_nothing_is_trained(first):
  root, done, _ = first
  before = {p: p.stat().st_mtime_ns for p in done.directory.glob("*/seed*/*")}
  again, text = run(root)
  assert [spec.state for spec in again.specs] == ["done"] * 4
  assert again.result.exit_code == 0
  assert text == ""
  assert {p: p.stat().st_mtime_ns for p in done.directory.glob("*/seed*/*")} == before


def test_report_of_real_runs(first):
  _, done, _ = first
  report = write_report(done.directory)
  table = report.summary.set_index("variant")
  assert table["done"].to_dict() == {"max": 2, "avg": 0, "stride": 2, "conv": 0}
  assert table.loc["avg", "trouble"] == "2 missing"
  assert 0 < table.loc["max", "mean"] <= 1
  assert table.loc["max", "multiply_adds"] > table.loc["stride", "multiply_adds"]
  drawn = {figure.stem for figure in report.figures}
  assert drawn >= {"claims", "differences", "error_bars", "curves_error", "curves_loss"}


def test_changed_page_is_refused_not_overwritten(first):
  root, done, _ = first
  path = done.directory / "max" / "seed0" / "config.json"
  original = path.read_text()
  path.write_text(original.replace('"batch_size": 64', '"batch_size": 32'))
  try:
    again, text = run(root)
  finally:
    path.write_text(original)
  assert again.result.outcomes["max/seed0"].status == "refused"
  assert again.result.exit_code == 1
  assert "another config" in text


def test_unknown_launcher(tmp_path):
  with pytest.raises(ConfigError, match="unknown launcher 'slurn'"):
    run(tmp_path, name="slurn")


def test_settings_are_those_of_the_launcher(tmp_path):
  assert parse_settings(["partition=gpu", "setup=a=1; b"]) == {
    "partition": "gpu",
    "setup": "a=1; b",
  }
  for wrong, message in ((["gpu"], "KEY=VALUE"), (["a=1", "a=2"], "given twice")):
    with pytest.raises(ConfigError, match=message):
      parse_settings(wrong)
  with pytest.raises(ConfigError, match="unknown option 'partition' of launcher 'local'"):
    run(tmp_path, settings={"partition": "gpu"})
