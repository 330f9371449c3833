"""All claims in one table: what the papers say, which experiment tests it, and what it found.

The table is built from the claims.csv of each report, so a copy of it can be rebuilt and checked.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from cnnlab import metrics
from cnnlab.errors import RunError
from cnnlab.lab.claim import Claim, Measure
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import wording
from cnnlab.lab.report.verdict_words import interval_text
from cnnlab.lab.statistics.regime import conditions_of, mean_of
from cnnlab.lab.statistics.verdicts import Verdict

FILE, CONFIRMATION = "claims.csv", "confirmation.csv"


def claims_table(
  experiment: Experiment,
  verdicts: Sequence[Verdict],
  runs: pd.DataFrame | None = None,
  confirms: bool = False,
) -> pd.DataFrame:
  """Returns a report's claims.csv: one row per claim, with all that its verdict is computed from.

  Args:
    experiment: the experiment.
    verdicts: of `judge`, or of `confirm`.
    runs: the table of `results.collect`; None if it is not known.
    confirms: whether the verdicts are those of `confirm`.

  Returns:
    `experiment`, `recipe`, `experiment_metric`; the claim's and the verdict's fields; `better` (min or
    max: of its metric), `declared` (JSON: the task's declaration of both metrics), `pairing`,
    `looks`, `conditions` (JSON: the variant, metric, relation and value that each condition of the
    regime asks for); of both sides `trainset_left` and `trainset_right` (mean of the experiment's
    metric on the training set) and the paper's figures.
  """
  table = _fields(verdicts)
  claims = [verdict.claim for verdict in verdicts]
  table["better"] = [experiment.better(Measure.parse(claim.metric).metric) for claim in claims]
  table["declared"] = [_declared(claim, experiment) for claim in claims]
  table["pairing"] = experiment.pairing
  table["looks"] = 0 if confirms else experiment.looks
  table["conditions"] = [json.dumps(_conditions(claim, experiment)) for claim in claims]
  if runs is not None:
    runs = runs[runs["seed"].isin(experiment.confirmed_by) == confirms]
  for side in ("left", "right"):
    table[f"trainset_{side}"] = [
      float("nan") if runs is None else mean_of(runs, getattr(claim, side), "trainset", experiment)
      for claim in claims
    ]
  for side in ("left", "right"):
    table[f"paper_{side}"] = [
      experiment.paper[label].value
      if claim.metric == experiment.metric and label in experiment.paper
      else float("nan")
      for claim, label in zip(claims, table[side], strict=True)
    ]
  table.insert(0, "experiment", experiment.name)
  table.insert(1, "recipe", experiment.recipe)
  table.insert(2, "experiment_metric", experiment.metric)
  return table


def _fields(verdicts: Sequence[Verdict]) -> pd.DataFrame:
  """Returns one row per claim: the claim's fields, then the verdict's."""
  rows = [
    asdict(v.claim) | {k: x for k, x in v._asdict().items() if k != "claim"} for v in verdicts
  ]
  columns = [*(f.name for f in fields(Claim)), *(n for n in Verdict._fields if n != "claim")]
  return pd.DataFrame(rows, columns=columns)


def _declared(claim: Claim, experiment: Experiment) -> str:
  names = (Measure.parse(claim.metric).metric, experiment.metric)
  found = [metrics.find(name, experiment.declared) for name in names]
  return json.dumps(metrics.to_json(found))


def _conditions(claim: Claim, experiment: Experiment) -> list[dict[str, object]]:
  return [
    {
      "variant": label,
      "metric": condition.metric or experiment.metric,
      "relation": condition.relation,
      "value": condition.value,
    }
    for label, condition in conditions_of(claim, experiment)
  ]


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
  headings = ("claim", "experiment", "paper", "ours", "training set", "verdict")
  lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
  for file in files:
    link = Path(os.path.relpath(file.with_name("report.md"))).as_posix()
    fresh = file.with_name(CONFIRMATION)
    confirmed: list[wording.Row] = _rows(fresh) if fresh.is_file() else []
    for number, row in enumerate(_rows(file)):
      lines.append(_line(row, link, confirmed[number] if confirmed else None))
  return "\n".join(lines) + "\n"


def _rows(file: Path) -> list[wording.Row]:
  return list(pd.read_csv(file, keep_default_na=False, na_values=[""]).to_dict("records"))


def _line(row: wording.Row, link: str, confirmed: wording.Row | None) -> str:
  declared = metrics.from_json(json.loads(row.get("declared", "{}")))
  metric = wording.describe_metric(row["metric"], declared)
  recipe: str = "" if pd.isna(row["recipe"]) else f", {row['recipe']}"
  sides = (row["left"], row["relation"], row["right"], row["margin"])
  formula = wording.inequality(*sides, metric, row.get("factor", 1.0))
  verdict = f"**{row['verdict']}**"
  if confirmed is not None and confirmed["pairs"]:
    verdict += f"; on {confirmed['pairs']} fresh seeds: **{confirmed['verdict']}**"
  cells = (
    wording.markdown_cell(f"{row['text']}: {formula}"),
    f"[{wording.markdown_cell(row['experiment'])}]({link}){recipe}",
    wording.markdown_cell(_paper(row, metric)),
    wording.markdown_cell(_ours(row, metric)),
    wording.markdown_cell(_training_set(row, declared)),
    verdict,
  )
  return f"| {' | '.join(cells)} |"


def _paper(row: wording.Row, metric: wording.ShownMetric) -> str:
  figures = [row["paper_left"], row["paper_right"]]
  if any(pd.isna(figure) for figure in figures):
    return row["source"]
  left, right = (wording.number(figure * metric.factor) for figure in figures)
  return f"{left} against {right}{metric.unit and ' ' + metric.unit} ({row['source']})"


def _ours(row: wording.Row, metric: wording.ShownMetric) -> str:
  if pd.isna(row["difference"]):
    return "–"
  ends = (float(row[end]) * metric.factor for end in ("difference", "low", "high"))
  unit = metric.difference_unit and f" {metric.difference_unit}"
  return f"{interval_text(*ends, sign=True)}{unit} in {metric.name}, {row['pairs']} seeds"


def _training_set(row: wording.Row, declared: Sequence[metrics.Metric]) -> str:
  """Returns the experiment's metric on the training set, of the left and the right side."""
  values = [float(row.get(f"trainset_{side}", "nan")) for side in ("left", "right")]
  if all(math.isnan(value) for value in values):
    return "–"
  leaf = str(row["experiment_metric"]).partition("/")[2]
  metric = wording.describe_metric(f"trainset/{leaf}", declared)
  left, right = (wording.number(value * metric.factor) for value in values)
  return f"{left} and {right}{metric.unit and ' ' + metric.unit}"
