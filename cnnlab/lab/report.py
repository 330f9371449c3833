"""Writes the report of a sweep from its run directories: Markdown, CSV and one HTML page.

No JAX and no model code is needed, so old sweeps stay readable when the code changes.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from cnnlab.errors import RunError
from cnnlab.lab import plots, wording
from cnnlab.lab.claims import claims_table
from cnnlab.lab.experiment import Experiment, read_experiment
from cnnlab.lab.results import collect, strangers
from cnnlab.lab.statistics import LEVEL, summarize
from cnnlab.lab.verdicts import Verdict, judge
from cnnlab.plot_style import save
from cnnlab.runs.directory import PLACES, write_text
from cnnlab.runs.loading import Run
from cnnlab.types import Json, JsonMapping

FOLDER = "report"
FIGURES = "figures"  # in a sweep's directory: figures drawn by the experiment's own script
PICTURES = "pictures"  # in a run's directory: predictions drawn by its task
MOST_PICTURES = 8  # per variant

_MEDIA = {".svg": "svg+xml", ".png": "png"}


@dataclass(frozen=True)
class WrittenReport:
  """The files of a report and the tables that it was made from.

  Attributes:
    experiment: the experiment, from experiment.json.
    runs: the table of `results.collect`.
    summary: the table of `statistics.summarize`.
    verdicts: the verdicts on the experiment's claims.
    html, markdown: report.html, report.md.
    tables: results.csv (one row per run), summary.csv (per variant) and claims.csv (per claim).
    figures: SVG files, each next to a PNG file of the same name; PNG files without an SVG.
  """

  experiment: Experiment
  runs: pd.DataFrame
  summary: pd.DataFrame
  verdicts: tuple[Verdict, ...]
  html: Path
  markdown: Path
  tables: tuple[Path, ...]
  figures: tuple[Path, ...]


def write_report(
  directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> WrittenReport:
  """Writes a sweep's report, replacing an earlier one, and returns its parts.

  Args:
    directory: the sweep's directory, `<root>/<experiment>`.
    out: the folder to write to; None for `report/` in the sweep's directory.

  Raises:
    RunError: the directory is not a sweep.
  """
  sweep = Path(directory)
  folder = sweep / FOLDER if out is None else Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  experiment = read_experiment(sweep)
  runs = collect(sweep, experiment)
  summary = summarize(runs, experiment.base)
  verdicts = tuple(judge(experiment, runs))
  figures = _figures(sweep, experiment, runs, summary, folder / FIGURES)
  figures |= _own_figures(sweep / FIGURES, folder / FIGURES)
  tables = {"results": runs, "summary": summary, "claims": claims_table(experiment, verdicts)}
  for name, table in tables.items():
    write_text(folder / f"{name}.csv", table.to_csv(index=False))
  content = _content(sweep, experiment, runs, summary)
  content["verdicts"] = [
    wording.verdict_cells(verdict, experiment.declared) for verdict in verdicts
  ]
  pictures = _pictures(sweep, runs, folder / FIGURES)
  content |= {"figures": _shown(figures, folder), "pictures": _shown(pictures, folder)}
  pages = _environment()
  for name in ("report.md", "report.html"):
    page = pages.get_template(f"{name}.j2").render(**content)
    write_text(folder / name, page)
  html, markdown = folder / "report.html", folder / "report.md"
  written = tuple(folder / f"{name}.csv" for name in tables)
  drawn = tuple(figures.values())
  return WrittenReport(experiment, runs, summary, verdicts, html, markdown, written, drawn)


def _figures(
  sweep: Path, experiment: Experiment, runs: pd.DataFrame, summary: pd.DataFrame, folder: Path
) -> dict[str, Path]:
  """Draws and saves the figures that the results allow; returns {title: SVG file}."""
  curves = _curves(sweep, runs)
  split, _, _ = experiment.metric.rpartition("/")
  during = [experiment.metric] + (["train/loss"] if split == "eval" else [])
  drawn: dict[str, Callable[[], Figure | None]] = {
    "differences": lambda: plots.differences(experiment, runs),
    "error_bars": lambda: plots.error_bars(experiment, runs),
    "accuracy_cost": lambda: plots.accuracy_against_cost(experiment, summary),
  }
  for metric in during:
    name = f"curves_{metric.replace('/', '_')}"
    drawn[name] = functools.partial(plots.learning_curves, experiment, curves, metric)
  figures = ((name, draw()) for name, draw in drawn.items())
  return {name: save(figure, folder, name) for name, figure in figures if figure is not None}


def _own_figures(source: Path, folder: Path) -> dict[str, Path]:
  """Copies the figures drawn by an experiment's own script, with the files of their numbers."""
  drawn = sorted(source.glob("*.svg"))
  drawn += [p for p in sorted(source.glob("*.png")) if p.with_suffix(".svg") not in drawn]
  folder.mkdir(parents=True, exist_ok=True)
  for figure in drawn:
    for file in source.glob(f"{figure.stem}.*"):
      shutil.copyfile(file, folder / file.name)
  return {figure.stem: folder / figure.name for figure in drawn}


def _pictures(sweep: Path, runs: pd.DataFrame, folder: Path) -> dict[str, Path]:
  """Copies the pictures of each variant's first finished run; returns {title: PNG file}."""
  pictures = {}
  folder.mkdir(parents=True, exist_ok=True)
  done = runs[runs["status"] == "done"].drop_duplicates("variant")
  for row in done.to_dict("records"):
    drawn = sorted((sweep / row["directory"] / PICTURES).glob("*.png"))
    for picture in drawn[:MOST_PICTURES]:
      name = f"{row['variant']}_seed{row['seed']}_{picture.stem}"
      shutil.copyfile(picture, folder / f"{name}.png")
      pictures[f"{row['variant']}, seed {row['seed']}: {picture.stem}"] = folder / f"{name}.png"
  return pictures


def _curves(sweep: Path, runs: pd.DataFrame) -> dict[str, list[plots.Curve]]:
  curves: dict[str, list[plots.Curve]] = {}
  for row in runs.to_dict("records"):
    if row["status"] in ("missing", "damaged", "other config"):
      continue
    try:
      metrics = Run(sweep / row["directory"]).metrics
    except RunError:
      continue  # the table of runs shows the error
    curves.setdefault(row["variant"], []).append(plots.Curve(metrics, row["status"] == "done"))
  return curves


def _shown(figures: Mapping[str, Path], folder: Path) -> list[dict[str, str]]:
  """Returns the name, the path relative to the report, and the data URI of each figure.

  Markdown shows the PNG file of a figure; HTML shows the SVG file if there is one.
  """
  return [
    {
      "name": name.replace("_", " "),
      "path": path.with_suffix(".png").relative_to(folder).as_posix(),
      "uri": f"data:image/{_MEDIA[path.suffix]};base64,"
      + base64.b64encode(path.read_bytes()).decode(),
    }
    for name, path in figures.items()
  ]


def _content(
  sweep: Path, experiment: Experiment, runs: pd.DataFrame, summary: pd.DataFrame
) -> Json:
  metric = wording.describe_metric(experiment.metric, experiment.declared)
  trouble = runs[runs["status"] != "done"]
  return {
    "experiment": experiment,
    "metric": metric,
    "rows": [_row(row, experiment, metric.factor) for row in summary.to_dict("records")],
    "runs": [_run(row, metric.factor) for row in runs.to_dict("records")],
    "done": len(runs) - len(trouble),
    "trouble": [_run(row, metric.factor) for row in trouble.to_dict("records")],
    "statuses": wording.explain_statuses(trouble["status"]),
    "strangers": strangers(sweep, experiment),
    "environments": _environments(sweep, runs),
    "overrides": {
      label: {key: json.dumps(value) for key, value in overrides.items()}
      for label, overrides in experiment.variants.items()
    },
    "has_paper": bool(experiment.paper),
    "has_memory": bool(summary["peak_memory"].notna().any()),
    "level": f"{100 * LEVEL:g} %",
    "shared": {
      key: json.dumps(value) for key, value in experiment.overrides.items() if key not in PLACES
    },
  }


def _row(row: wording.Row, experiment: Experiment, factor: float) -> dict[str, str]:
  """Returns the text of a variant's cells."""
  low, high = row["difference_low"] * factor, row["difference_high"] * factor
  base = row["variant"] == experiment.base
  published = experiment.paper.get(row["variant"])
  return {
    "variant": row["variant"],
    "base": "yes" if base else "",
    "mean": wording.with_interval(row["mean"] * factor, row["low"] * factor, row["high"] * factor),
    "difference": "base"
    if base
    else wording.with_interval(row["difference"] * factor, low, high, sign=True),
    "p_value": "" if base else wording.probability(row["p_value"]),
    "paper": wording.number(published.value * factor) if published else "–",
    "paper_source": published.source if published else "",
    "parameters": wording.count(row["parameters"]),
    "multiply_adds": wording.count(row["multiply_adds"]),
    "seconds": wording.duration(row["seconds"]),
    "ms_per_step": wording.number(row["ms_per_step"], 1),
    "peak_memory": wording.size(row["peak_memory"]),
    "runs": f"{row['done']} of {row['asked']}",
    "trouble": row["trouble"],
  }


def _run(row: wording.Row, factor: float) -> dict[str, str]:
  step: str = "" if pd.isna(row["step"]) else f"{row['step']:.0f}"
  if step and not pd.isna(row["total_steps"]):
    step += f" of {row['total_steps']:.0f}"
  value, best = (
    wording.number(None if pd.isna(row[name]) else row[name] * factor) for name in ("value", "best")
  )
  return {
    "variant": row["variant"],
    "seed": str(row["seed"]),
    "status": row["status"],
    "step": step,
    "value": value,
    "best": best,
    "seconds": wording.duration(row["seconds"]),
    "reason": "" if pd.isna(row["reason"]) else str(row["reason"]),
  }


def _environments(sweep: Path, runs: pd.DataFrame) -> list[dict[str, str]]:
  """Returns a description of each environment of the runs, and the number of its runs."""
  counts: dict[str, int] = {}
  for relative in runs["directory"]:
    try:
      found = Run(sweep / relative).environment
    except RunError:
      continue
    if found:
      counts[_describe(found)] = counts.get(_describe(found), 0) + 1
  return [{"text": text, "runs": str(count)} for text, count in counts.items()]


def _describe(environment: JsonMapping) -> str:
  devices = environment.get("devices") or {}
  git = environment.get("git") or {}
  packages = environment.get("packages") or {}
  commit = str(git.get("commit") or "unknown")[:12]
  state = " with uncommitted changes" if git.get("dirty") else ""
  versions = ", ".join(f"{name} {version}" for name, version in packages.items())
  return (
    f"{devices.get('count', '?')} x {devices.get('kind', 'unknown device')} "
    f"({devices.get('platform', '?')}), {environment.get('cpu_count', '?')} CPU cores, "
    f"{environment.get('platform', '')}, Python {environment.get('python', '?')}; "
    f"commit {commit}{state}; {versions}"
  )


def _environment() -> Environment:
  environment = Environment(
    loader=PackageLoader("cnnlab.lab"),
    autoescape=select_autoescape(["html.j2", "html"], default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["cell"] = wording.markdown_cell
  return environment
