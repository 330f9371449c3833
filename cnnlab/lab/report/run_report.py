"""Writes the report of a single run: one HTML page that needs no other file, and Markdown.

Everything is read from the run's directory. Only the pictures of mistakes need its data set, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.config import flatten, to_plain, upgrade_saved
from cnnlab.defaults import default_config
from cnnlab.errors import CnnlabError, ConfigError
from cnnlab.lab.report import figures, run_figures, wording
from cnnlab.lab.report.environments import describe
from cnnlab.lab.report.tables import Column, Table, columns
from cnnlab.lab.report.write import FIGURES, FOLDER, render
from cnnlab.lab.results import peak_memory
from cnnlab.models import model_options
from cnnlab.plot_style import WIDTH, save
from cnnlab.runs.directory import PLACES
from cnnlab.runs.files import make_folder, write_text
from cnnlab.runs.lease import is_leased
from cnnlab.runs.loading import Run, load
from cnnlab.runs.named import main_metric_of
from cnnlab.runs.status import effective_status
from cnnlab.runs.table import declared_metrics
from cnnlab.tasks import saved_task
from cnnlab.tasks.analysis import Analysis, with_classes
from cnnlab.tasks.analysis import Table as AnalysisTable
from cnnlab.train.analysis import image_grid, images_of_picks, save_tables
from cnnlab.types import Json

NO_DIFFERENCE = "–"


def write_run_report(
  directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> Path:
  """Writes report.html, report.md, tables and figures of a run; replaces an earlier report.

  Args:
    directory: the run's.
    out: the folder to write to; None for `report/` in the run's directory.

  Returns:
    The path of report.html.

  Raises:
    RunError: the directory is no run, or config.json is damaged.
  """
  run = load(directory)
  folder = run.directory / FOLDER if out is None else Path(out)
  content, analysis = _content(run), _analyzed(run)
  main = main_metric_of(run.config.get("derived", {}))[0].partition("/")[2]
  curves = run_figures.curves(run.metrics, main, declared_metrics(run.directory))
  make_folder(folder)
  pictures = figures.copy_run_pictures(run.directory, folder / FIGURES)
  content |= {
    "files": [path.name for path in save_tables(analysis, folder)] if analysis else [],
    "curves": [_drawn("curves", curves, folder)] if curves else [],
    "analysis": _analysis(run, analysis, folder) if analysis else [],
    "pictures": figures.shown(pictures, folder),
  }
  parts = [("results", "Results"), ("configuration", "Configuration"), ("cost", "Cost")]
  parts += [(part["id"], part["title"]) for part in content["analysis"]]
  content["contents"] = parts + ([("pictures", "Pictures")] if pictures else [])
  for kind in ("html", "md"):
    write_text(folder / f"report.{kind}", render(f"run.{kind}.j2", content))
  return folder / "report.html"


def _analyzed(run: Run) -> Analysis | None:
  """Returns the analysis of the run's last evaluation by its task.

  None where the task is a user's own and its module is not imported: a report executes no code that
  a run names.
  """
  if not run.examples or not len(run.metrics):
    return None
  try:
    task = saved_task(run.config.to_dict())
  except CnnlabError:
    return None
  last = {str(name): float(value) for name, value in run.metrics.iloc[-1].items()}
  return with_classes(task.analyze(run.examples), last, task.metrics, run.examples)


def _content(run: Run) -> Json:
  status, derived = run.status, run.config.get("derived", {})
  state = effective_status(status, is_leased(run.directory)) if status else "queued"
  reason = str(status.get("reason") or "")
  meaning = wording.explain_statuses([state])
  step, total = status.get("step"), derived.get("total_steps")
  examples = [
    f"{derived[f'{split}_examples']:,} {word} examples"
    for split, word in (("train", "training"), ("eval", "evaluation"))
    if derived.get(f"{split}_examples")
  ]
  told = [str(run.config.model.name), *([str(run.config.data.name)] if examples else []), *examples]
  told.append(f"{state} at step {step} of {total}" if step is not None else state)
  return {
    "name": run.directory.name,
    "about": ", ".join(told),
    "trouble": ". ".join(filter(None, (reason, meaning))) if state != "done" else "",
    "results": _results(run),
    "about_results": "Last: at the last evaluation, which is the result. Best: chosen among all "
    "evaluations by the examples that it is of, so that it is better than on new ones.",
    "differences": _differences(run),
    "config": _config(run),
    "cost": _cost(run),
    "environment": describe(run.environment) if run.environment else "Environment: not recorded.",
  }


def _results(run: Run) -> Table:
  """Returns the last and the best value of each evaluated metric, the main one first."""
  declared, rows = declared_metrics(run.directory), run.metrics
  describe = wording.describe_metrics_of(run.directory)
  main, _ = main_metric_of(run.config.get("derived", {}))
  logged = [n for n in map(str, rows) if n.startswith(("eval/", "trainset/")) and n.count("/") == 1]
  names = [n for n in logged if not n.endswith("/count")]
  table = Table(columns("metric", "last", "best", "at step"))
  for name in sorted(names, key=lambda name: name != main):
    every = pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
    known = np.flatnonzero(np.isfinite(every))
    if not len(known):
      continue
    metric = describe(name)
    better = next((m.better for m in declared if m.name == name.partition("/")[2]), "min")
    best = known[(every if better == "min" else -every)[known].argmin()]
    digits = 2 if metric.unit == "%" else 4
    last = wording.number(every[known[-1]] * metric.factor, digits)
    told = wording.number(every[best] * metric.factor, digits)
    several = len(known) > 1  # of one evaluation there is no best
    chosen = (told, f"{rows['step'].iloc[best]:.0f}") if several else ("", "")
    table.add(metric.label, last, *chosen, strong=name == main)
  return table


def _differences(run: Run) -> Table:
  """Returns the keys whose values are not the defaults."""
  usual = flatten(to_plain(default_config()))
  config = flatten(upgrade_saved(run.config.to_dict()))
  options = {f"model.{k}": v for k, v in _model_defaults(str(config["model.name"])).items()}
  usual = {k: v for k, v in usual.items() if not k.startswith("model.")} | options
  table = Table([Column("key", left=True), Column("this run"), Column("default")])
  for key, value in config.items():
    if key.startswith("derived.") or key in PLACES or key == "imports":
      continue
    if key not in usual or _spelled(usual[key]) != _spelled(value):
      table.add(key, _spelled(value), _spelled(usual[key]) if key in usual else NO_DIFFERENCE)
  return table


def _model_defaults(name: str) -> Mapping[str, object]:
  try:
    return {option: found.default for option, found in model_options(name).items()}
  except ConfigError:  # a model of the user's that is not imported here
    return {}


def _config(run: Run) -> Table:
  table = Table([Column("key", left=True), Column("value")])
  for key, value in flatten(run.config.to_dict()).items():
    if key not in PLACES and not key.startswith(("derived.features.", "derived.metrics.")):
      table.add(key, _spelled(value))
  return table


def _cost(run: Run) -> Table:
  derived, timing = run.config.get("derived", {}), run.timing
  table = Table(columns("quantity", "value"))
  table.add("parameters", wording.count(derived.get("parameters")))
  table.add("multiply-adds per image", wording.count(derived.get("multiply_adds")))
  table.add("training time", wording.duration(run.status.get("seconds")))
  if "images_per_second" in timing and len(timing):
    speed = float(timing["images_per_second"].median())
    table.add("training speed, median", f"{wording.count(speed)} images/s")
    table.add("time of a step, median", f"{1000 * run.config.batch_size / speed:.3g} ms")
  if (memory := peak_memory(run)) is not None:
    table.add("peak memory", wording.size(memory))
  return table


def _analysis(run: Run, analysis: Analysis, folder: Path) -> list[Json]:
  """Returns the parts of the page that the task's analysis makes."""
  parts = []
  for name in dict.fromkeys((*analysis.tables, *analysis.figures)):
    drawn = [_drawn(name, analysis.figures[name](), folder)] if name in analysis.figures else []
    made = analysis.tables.get(name)
    table = _as_table(made) if made and not (drawn and made.in_figure) else None
    parts.append(_part(name, drawn, table, made.about if made else ""))
  if analysis.picks:
    about, drawn = analysis.about_picks, []
    try:
      images = images_of_picks(run, analysis)
      grid = image_grid(images, [pick.caption for pick in analysis.picks])
      drawn = [_drawn(analysis.picks_name, grid, folder)]
    except CnnlabError as error:
      about = f"No pictures, for want of the data set: {error}"
    parts.append(_part(analysis.picks_name, drawn, None, about))
  return parts


def _drawn(name: str, figure: Figure, folder: Path) -> Json:
  """Returns a figure for the page, with its share of the page's width."""
  (shown,) = figures.shown({name: save(figure, folder / FIGURES, name)}, folder)
  return shown | {"share": min(1.0, figure.get_figwidth() / WIDTH)}


def _part(name: str, drawn: Sequence[Json], table: Table | None, about: str) -> Json:
  title = name.replace("_", " ").capitalize()
  return {"id": name, "title": title, "figures": drawn, "table": table, "about": about}


def _as_table(made: AnalysisTable) -> Table:
  first, *rest = map(str, made.shown.columns)
  table = Table(columns(first, *rest, words=made.words))
  for row in made.shown.itertuples(index=False):
    table.add(*map(str, row))
  return table


def _spelled(value: object) -> str:
  return value if isinstance(value, str) and value else json.dumps(value)
