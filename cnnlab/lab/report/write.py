"""Writes the report of a sweep from its run directories: Markdown, CSV and one HTML page.

No JAX and no model code is needed, so old sweeps stay readable when the code changes.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from cnnlab.lab import examples
from cnnlab.lab.experiment import Experiment, read_experiment
from cnnlab.lab.report import edited, figures, recipe, texts, variant_tables, verdict_words, wording
from cnnlab.lab.report.claims import claims_table
from cnnlab.lab.report.environments import environments
from cnnlab.lab.report.tuning_tables import tuned
from cnnlab.lab.results import collect, collect_tuning, strangers
from cnnlab.lab.statistics.summary import summarize
from cnnlab.lab.statistics.verdicts import Verdict, confirm, judge
from cnnlab.runs.directory import write_text
from cnnlab.types import Json

FOLDER = "report"
FIGURES = "figures"  # in a sweep's directory: figures drawn by the experiment's own script

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})")
_SECTIONS = {
  "verdicts": "Verdicts",
  "confirmation": "Confirmation",
  "regime": "Regime",
  "results": "Results",
  "figures": "Figures",
  "pictures": "Pictures",
  "tuned": "Tuning",
  "recipe": "Recipe",
  "runs": "Runs",
  "environments": "Environment",
}


@dataclass(frozen=True)
class WrittenReport:
  """The files of a report and the tables that it was made from.

  Attributes:
    experiment: the experiment, from experiment.json and the file of its claims.
    runs: the table of `results.collect`.
    summary: the table of `statistics.summarize`.
    verdicts: the verdicts on the experiment's claims.
    confirmed: the verdicts on the same claims by the seeds of `Experiment.confirmed_by` alone.
    notes: what was edited in the experiment after the sweep began.
    html, markdown: report.html, report.md.
    tables: results.csv (one row per run), summary.csv (per variant), claims.csv (per claim); if there
      are any, also tuning.csv (per tuning run) and confirmation.csv (per claim).
    figures: SVG files, each next to a PNG file of the same name; PNG files without an SVG.
  """

  experiment: Experiment
  runs: pd.DataFrame
  summary: pd.DataFrame
  verdicts: tuple[Verdict, ...]
  confirmed: tuple[Verdict, ...]
  notes: tuple[str, ...]
  html: Path
  markdown: Path
  tables: tuple[Path, ...]
  figures: tuple[Path, ...]


def write_report(
  directory: str | os.PathLike[str],
  out: str | os.PathLike[str] | None = None,
  as_saved: bool = False,
) -> WrittenReport:
  """Writes a sweep's report, replacing an earlier one, and returns its parts.

  Args:
    directory: the sweep's directory, `<root>/<experiment>`.
    out: the folder to write to; None for `report/` in the sweep's directory.
    as_saved: whether to report the claims of experiment.json even if the experiment's file has
      been edited since; see `cnnlab.lab.report.edited`.

  Raises:
    RunError: the directory is not a sweep.
  """
  sweep = Path(directory)
  folder = sweep / FOLDER if out is None else Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  saved = read_experiment(sweep)
  experiment, notes = edited.Current(saved) if as_saved else edited.current(saved, sweep)
  runs, tried = collect(sweep, experiment), collect_tuning(sweep, experiment)
  results = examples.load(sweep, runs, experiment.metric)
  summary = summarize(runs, experiment.base, examples=results, pairing=experiment.pairing)
  verdicts = tuple(judge(experiment, runs, results))
  confirmed = tuple(confirm(experiment, runs, results))
  claimed = claims_table(experiment, verdicts, runs)
  tables = {"results": runs, "summary": summary, "claims": claimed}
  tables |= {"tuning": tried} if len(tried) else {}
  fresh = claims_table(experiment, confirmed, runs, confirms=True)
  tables |= {"confirmation": fresh} if confirmed else {}
  for name, table in tables.items():
    write_text(folder / f"{name}.csv", table.to_csv(index=False))
  evidence = examples.write_examples(folder, results)
  own = runs[~runs["confirms"].astype(bool)]
  drawn = figures.draw(sweep, experiment, own, summary, verdicts, folder / FIGURES)
  drawn |= figures.copy_own(sweep / FIGURES, folder / FIGURES)
  pictures = figures.copy_pictures(sweep, runs, folder / FIGURES)
  content = _content(sweep, experiment, runs, summary) | {
    "verdicts": _verdict_table(experiment, verdicts),
    "confirmation": _verdict_table(experiment, confirmed),
    "edits": notes,
    "tuned": tuned(experiment, tried, runs),
    "files": [f"{name}.csv" for name in tables] + ([evidence.name] if evidence else []),
    "figures": figures.shown(drawn, folder),
    "pictures": figures.shown(pictures, folder),
  }
  _write_pages(content, folder)
  return WrittenReport(
    experiment,
    runs,
    summary,
    verdicts,
    confirmed,
    notes,
    folder / "report.html",
    folder / "report.md",
    tuple(folder / f"{name}.csv" for name in tables),
    tuple(drawn.values()),
  )


def _verdict_table(experiment: Experiment, verdicts: tuple[Verdict, ...]) -> object:
  return verdict_words.verdict_table(verdicts, experiment.declared) if verdicts else None


def _content(
  sweep: Path, experiment: Experiment, runs: pd.DataFrame, summary: pd.DataFrame
) -> Json:
  trouble = runs[runs["status"] != "done"]
  found = recipe.read(sweep, runs)
  return {
    "experiment": experiment,
    "asked": len(runs),
    "done": len(runs) - len(trouble),
    "trouble": [_trouble(row) for row in trouble.to_dict("records")],
    "statuses": wording.explain_statuses(trouble["status"]),
    "strangers": strangers(sweep, experiment),
    "environments": environments(sweep, runs),
    "regime": variant_tables.regime(experiment, runs[~runs["confirms"].astype(bool)]),
    "required": functools.partial(variant_tables.required, experiment=experiment),
    "results": variant_tables.results(experiment, summary),
    "papers": variant_tables.papers(experiment),
    "runs": variant_tables.all_runs(experiment, runs),
    "recipe": variant_tables.shared_recipe(found),
    "differing": variant_tables.own_recipe(found, experiment),
    "unknown": found.unknown,
    "overrides": variant_tables.overrides(experiment),
    "about_verdicts": texts.verdicts(experiment),
    "about_confirmation": texts.confirmation(experiment),
    "about_results": texts.results(experiment, summary),
    "costs": variant_tables.costs(experiment, summary),
    "about_costs": texts.costs(),
    "about_tuning": texts.tuning(experiment),
  }


def _trouble(row: wording.Row) -> dict[str, str]:
  return {
    "name": f"{row['variant']}, seed {row['seed']}",
    "status": row["status"],
    "step": "" if pd.isna(row["step"]) else f"{row['step']:.0f}",
    "reason": "" if pd.isna(row["reason"]) else str(row["reason"]),
  }


def _write_pages(content: Json, folder: Path) -> None:
  present = [title for name, title in _SECTIONS.items() if content[name]]
  content["contents"] = [(title.lower(), title) for title in present]
  for name in ("report.md", "report.html"):
    write_text(folder / name, render(f"{name}.j2", content))


def render(template: str, content: Json) -> str:
  """Returns a page of the package's templates."""
  pages = Environment(
    loader=PackageLoader("cnnlab.lab.report"),
    autoescape=select_autoescape(["html.j2", "html"], default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  pages.filters |= {"cell": wording.markdown_cell, "linked": linked}
  return pages.get_template(template).render(**content)


def linked(text: object) -> Markup:
  """Returns text as HTML, escaped, with a link for each arXiv identifier."""
  link = r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>'
  return Markup(_ARXIV.sub(link, str(escape(text))))
