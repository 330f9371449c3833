"""All claims in one table: what the papers say, which experiment tests it, and what it found.

The table is built from the claims.csv of each report, so a copy of it can be rebuilt and checked.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from cnnlab.errors import RunError
from cnnlab.lab import wording
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.verdicts import Verdict, verdict_table

FILE = "claims.csv"


def claims_table(experiment: Experiment, verdicts: tuple[Verdict, ...]) -> pd.DataFrame:
  """Returns a report's claims.csv: one row per claim, with verdict and the paper's two figures."""
  table = verdict_table(verdicts)
  metrics = [verdict.claim.metric for verdict in verdicts]
  for side in ("left", "right"):
    table[f"paper_{side}"] = [
      experiment.paper[label].value
      if metric == experiment.metric and label in experiment.paper
      else float("nan")
      for metric, label in zip(metrics, table[side], strict=True)
    ]
  table.insert(0, "experiment", experiment.name)
  table.insert(1, "recipe", experiment.recipe)
  return table


def claims_markdown(directory: str | os.PathLike[str]) -> str:
  """Returns the claims of all reports in a directory tree as a Markdown table.

  Args:
    directory: searched for claims.csv files, each next to its report.md. Links are relative to the
      working directory.

  Raises:
    RunError: there is no claims.csv.
  """
  files = sorted(Path(directory).glob(f"**/{FILE}"))
  if not files:
    raise RunError(f"no {FILE} below {str(directory)!r}; `cnnlab report` writes one")
  lines = ["| claim | experiment | paper | ours | verdict |", "|---|---|---|---|---|"]
  for file in files:
    link = Path(os.path.relpath(file.with_name("report.md"))).as_posix()
    for row in pd.read_csv(file, keep_default_na=False, na_values=[""]).to_dict("records"):
      lines.append(_line(row, link))
  return "\n".join(lines) + "\n"


def _line(row: wording.Row, link: str) -> str:
  metric = wording.describe_metric(row["metric"])
  recipe: str = "" if pd.isna(row["recipe"]) else f", {row['recipe']}"
  formula = wording.inequality(row["left"], row["relation"], row["right"], row["margin"], metric)
  cells = (
    wording.markdown_cell(f"{row['text']}: {formula}"),
    f"[{wording.markdown_cell(row['experiment'])}]({link}){recipe}",
    wording.markdown_cell(_paper(row, metric)),
    wording.markdown_cell(_ours(row, metric)),
    f"**{row['verdict']}**",
  )
  return f"| {' | '.join(cells)} |"


def _paper(row: wording.Row, metric: wording.ShownMetric) -> str:
  figures = [row["paper_left"], row["paper_right"]]
  if any(pd.isna(figure) for figure in figures):
    return row["source"]
  left, right = (wording.number(figure * metric.factor) for figure in figures)
  return f"{left} against {right}{metric.unit and ' ' + metric.unit} ({row['source']})"


def _ours(row: wording.Row, metric: wording.ShownMetric) -> str:
  low, high = (wording.number(row[end] * metric.factor) for end in ("low", "high"))
  difference = wording.number(row["difference"] * metric.factor, sign=True)
  unit = metric.difference_unit and f" {metric.difference_unit}"
  return f"{difference} ({low} to {high}){unit} in {metric.name}, {row['pairs']} seeds"
