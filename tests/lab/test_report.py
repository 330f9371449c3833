import base64
import html.parser
import resource
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from cnnlab.errors import RunError
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.report.write import write_report
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_run


@pytest.fixture(scope="module")
def report(sweep, tmp_path_factory):
  return write_report(sweep, tmp_path_factory.mktemp("report"))


class Page(html.parser.HTMLParser):
  """Collects the tags and texts of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.texts, self.links, self.sources, self.ids = [], [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [value for name, value in attrs if name == "href"]
    self.sources += [value for name, value in attrs if name == "src"]
    self.ids += [value for name, value in attrs if name == "id"]

  def handle_data(self, data):
    self.texts.append(data)


def test_files(report):
  folder = report.html.parent
  names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
  figures = {"claims", "curves_error", "curves_loss", "differences", "error_bars"}
  expected = {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")}
  assert names == expected | {
    "report.html", "report.md", "results.csv", "summary.csv", "claims.csv",
  }  # fmt: skip


def test_csv_holds_the_tables(report):
  runs, summary, claims = (pd.read_csv(path) for path in report.tables)
  assert len(runs) == 16
  assert runs["value"].notna().sum() == 14
  assert summary.set_index("variant").loc["better", "difference"] == pytest.approx(-0.03)
  claim = claims.iloc[0]
  assert (claim["left"], claim["verdict"], claim["pairs"]) == ("better", "holds", 4)
  assert claim["difference"] == pytest.approx(-0.03)


def test_page_stands_alone_and_escapes_what_configs_say(report):
  text = report.html.read_text()
  page = Page(text)
  assert "b" not in page.tags
  assert "script" not in page.tags
  assert "Does <b>it</b> help & how?" in page.texts
  assert page.tags.count("img") == 5
  assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
  assert "url(" not in text
  svg = base64.b64decode(page.sources[0].partition(",")[2])
  assert svg in [path.read_bytes() for path in report.figures]


def test_links_lead_to_sections_tables_and_papers(report):
  page = Page(report.html.read_text())
  inside = [link[1:] for link in page.links if link.startswith("#")]
  assert inside == ["verdicts", "results", "figures", "recipe", "runs", "environment"]
  assert set(inside) <= set(page.ids)
  others = {link for link in page.links if not link.startswith("#")}
  paper = "https://arxiv.org/abs/0000.00000"
  assert others == {"results.csv", "summary.csv", "claims.csv", "report.md", paper}
  assert all((report.html.parent / link).is_file() for link in others - {paper})


def test_page_fits_a_phone_and_a_dark_room(report):
  text = report.html.read_text()
  assert "prefers-color-scheme: dark" in text
  assert "max-width: 600px" in text
  assert text.count("<td ") == text.count("<td data-label=")


def test_page_and_markdown_show_what_is_missing(report):
  page, text = " ".join(Page(report.html.read_text()).texts), report.markdown.read_text()
  for shown in (page, text):
    assert "1 diverged, 1 missing" in shown
    assert "DivergedError: loss is nan" in shown
    assert "−3.00 ± 1.30" in shown
    assert "19.00" in shown  # the paper's
    assert "abcdef012345" in shown
  assert "Does &lt;b>it&lt;/b> help &amp; how?" in text


def test_verdicts_come_first_with_their_numbers(report):
  text, page = report.markdown.read_text(), report.html.read_text()
  for shown in (text, page):
    assert shown.index("Verdicts") < shown.index("Results")
    assert "−3.00 (−4.30 to −1.70)" in shown
    assert "over seeds, correlation" in shown
  assert "| **holds** | 1. better is better: better &lt; base + 1 points in test error" in text
  texts = Page(page).texts
  assert "holds" in texts
  assert "better < base + 1 points in test error" in texts


def test_the_same_results_give_the_same_files(sweep, report, tmp_path):
  again = write_report(sweep, tmp_path)
  assert again.html.read_bytes() == report.html.read_bytes()


def test_an_experiments_own_figures_are_shown_with_their_numbers(tmp_path):
  directory = open_sweep(make_experiment(), tmp_path)
  own = directory / "figures"
  own.mkdir()
  (own / "importance.svg").write_text("<svg/>")
  (own / "importance.csv").write_text("depth\n0\n")
  report = write_report(directory, tmp_path / "out")
  assert (tmp_path / "out/figures/importance.csv").read_text() == "depth\n0\n"
  assert "figures/importance.png" in report.markdown.read_text()
  assert 'alt="importance"' in report.html.read_text()


def test_the_place_of_the_data_is_in_no_report(tmp_path):
  report = write_report(open_sweep(make_experiment(overrides={"data.dir": "/secret"}), tmp_path))
  assert "secret" not in report.html.read_text() + report.markdown.read_text()


def test_sweep_without_any_run(tmp_path):
  report = write_report(open_sweep(make_experiment(), tmp_path))
  assert report.html.parent == tmp_path / "toy" / "report"
  assert report.figures == ()
  assert "4 missing" in report.html.read_text()


def test_no_sweep(tmp_path):
  with pytest.raises(RunError, match="is not a sweep"):
    write_report(tmp_path)


def test_hundred_runs_in_a_fresh_process_without_jax(tmp_path):
  variants = {f"v{i}": {"optim.learning_rate": 0.1 + i} for i in range(10)}
  changes = {"base": "v0", "seeds": tuple(range(10)), "claims": (), "paper": {}}
  directory = open_sweep(make_experiment(variants=variants, **changes), tmp_path)
  errors = [0.5 / (1 + epoch) for epoch in range(100)]
  write_run(tmp_path / "pattern", errors=errors)
  for label, overrides in variants.items():
    for seed in range(10):
      run = directory / label / f"seed{seed}"
      shutil.copytree(tmp_path / "pattern", run)
      text = (run / "config.json").read_text().replace('"seed": 0', f'"seed": {seed}')
      rate = f'"learning_rate": {overrides["optim.learning_rate"]}'
      (run / "config.json").write_text(text.replace('"learning_rate": 0.1', rate))
  code = (
    f"import sys; from cnnlab.lab.report.write import write_report; r = write_report({str(directory)!r})\n"
    "assert (r.runs['status'] == 'done').all()\n"
    "print([m for m in ('jax', 'flax', 'cnnlab.models', 'cnnlab.train') if m in sys.modules])"
  )
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert done.stdout.strip() == "[]"
  seconds = after.ru_utime - before.ru_utime  # of the processor: other tests run at the same time
  assert seconds < 15, f"{seconds:.1f} s; the target is 5 s on an idle machine"
