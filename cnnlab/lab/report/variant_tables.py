"""The tables of a report: results by variant, runs, recipe, overrides and regime."""

from __future__ import annotations

import json

import pandas as pd

from cnnlab.lab.claim import Condition
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import wording
from cnnlab.lab.report.recipe import Recipe
from cnnlab.lab.report.tables import Cell, Column, Table, columns
from cnnlab.lab.statistics.regime import mean_of
from cnnlab.runs.directory import PLACES


def results(experiment: Experiment, summary: pd.DataFrame) -> Table:
  """Returns one row per variant: the metric, also on the training set, and the difference.

  Args:
    experiment: the experiment.
    summary: the table of `statistics.summarize`. The training set is left out if it is unknown.
  """
  metric = wording.describe_metric(experiment.metric, experiment.declared)
  points = f" ({metric.difference_unit})" if metric.difference_unit else ""
  kind = "paired difference" if experiment.pairing == "seeds" else "difference"
  trained = bool(summary["trainset"].notna().any())
  headings = [
    f"{metric.label}, mean ± 95 % CI",
    *(["on the training set", f"gap{points}"] if trained else []),
    f"{kind} from {experiment.base}{points}",
    "p",
    *(["paper"] if experiment.paper else []),
    "runs done",
  ]
  table = Table(columns("variant", *headings))
  for row in summary.to_dict("records"):
    cells = _result(row, experiment, metric.factor, trained)
    table.add(row["variant"], *cells, strong=row["variant"] == experiment.base)
  return table


def _result(
  row: wording.Row, experiment: Experiment, factor: float, trained: bool
) -> list[Cell | str]:
  ends = (
    row["difference"] * factor,
    row["difference_low"] * factor,
    row["difference_high"] * factor,
  )
  base = row["variant"] == experiment.base
  published = experiment.paper.get(row["variant"])
  paper = wording.number(published.value * factor) if published else "–"
  runs, trouble = f"{row['done']} of {row['asked']}", row["trouble"]
  return [
    wording.with_interval(row["mean"] * factor, row["low"] * factor, row["high"] * factor),
    *([wording.number(row[x] * factor) for x in ("trainset", "gap")] if trained else []),
    "base" if base else wording.with_interval(*ends, sign=True),
    "" if base else wording.probability(row["p_value"]),
    *([paper] if experiment.paper else []),
    Cell(f"{runs}: {trouble}" if trouble else runs, style="trouble" if trouble else ""),
  ]


def costs(experiment: Experiment, summary: pd.DataFrame) -> Table:
  """Returns one row per variant: its parameters, arithmetic, times and memory.

  Args:
    experiment: the experiment.
    summary: the table of `statistics.summarize`. Memory is left out if it is unknown.
  """
  memory = bool(summary["peak_memory"].notna().any())
  headings = ["parameters", "multiply-adds", "training time", "ms / step"]
  table = Table(columns("variant", *headings, *(["peak memory"] if memory else [])))
  for row in summary.to_dict("records"):
    table.add(
      row["variant"],
      wording.count(row["parameters"]),
      wording.count(row["multiply_adds"]),
      wording.duration(row["seconds"]),
      wording.number(row["ms_per_step"], 1),
      *([wording.size(row["peak_memory"])] if memory else []),
      strong=row["variant"] == experiment.base,
    )
  return table


def papers(experiment: Experiment) -> list[str]:
  """Returns where the paper's figures come from, each source once with its variants."""
  sources: dict[str, list[str]] = {}
  for label, figure in experiment.paper.items():
    source = figure.source + (f" ({figure.note})" if figure.note else "")
    sources.setdefault(source, []).append(label)
  return [f"{', '.join(labels)}: {source}" for source, labels in sources.items()]


def all_runs(experiment: Experiment, runs: pd.DataFrame) -> Table:
  """Returns one row per run of `results.collect`, done or not."""
  metric = wording.describe_metric(experiment.metric, experiment.declared)
  headings = ("seed", "status", "step", metric.label, "training time", "reason")
  table = Table(columns("variant", *headings, words=("status", "reason")))
  for row in runs.to_dict("records"):
    step: str = "" if pd.isna(row["step"]) else f"{row['step']:.0f}"
    if step and not pd.isna(row["total_steps"]):
      step += f" of {row['total_steps']:.0f}"
    value = None if pd.isna(row["value"]) else row["value"] * metric.factor
    table.add(
      row["variant"],
      str(row["seed"]),
      Cell(row["status"], style="" if row["status"] == "done" else "trouble"),
      step,
      wording.number(value),
      wording.duration(row["seconds"]),
      "" if pd.isna(row["reason"]) else str(row["reason"]),
    )
  return table


def shared_recipe(found: Recipe) -> Table:
  """Returns what all variants were trained with."""
  table = Table([Column("subject", left=True), Column("all variants", left=True)])
  for subject, text in found.shared.items():
    table.add(subject, text)
  return table


def own_recipe(found: Recipe, experiment: Experiment) -> Table:
  """Returns what differs: a row for each variant, a column for each subject."""
  subjects = list(found.own)
  table = Table([Column(heading, left=True) for heading in ("variant", *subjects)])
  for label in experiment.variants:
    if label not in found.unknown:
      texts = (found.own[subject].get(label, "–") for subject in subjects)
      table.add(label, *texts, strong=label == experiment.base)
  return table


def overrides(experiment: Experiment) -> dict[str, dict[str, str]]:
  """Returns {variant: {config key: value}}, those of all variants under an empty name."""
  shared = {key: value for key, value in experiment.overrides.items() if key not in PLACES}
  named = {"": shared, **experiment.variants}
  return {
    label: {key: _written(key, value) for key, value in keys.items()}
    for label, keys in named.items()
  }


def _written(key: str, value: object) -> str:
  return json.dumps(wording.data_name(str(value)) if key == "data.name" else value)


def regime(experiment: Experiment, runs: pd.DataFrame) -> Table | None:
  """Returns a row for each variant and a column for each condition of the regime; None for none.

  Args:
    experiment: the experiment.
    runs: the table of `results.collect`.
  """
  if not experiment.regime:
    return None
  table = Table(columns("variant", *(required(c, experiment) for c in experiment.regime)))
  for label in experiment.variants:
    table.add(label, *(_condition(c, label, runs, experiment) for c in experiment.regime))
  return table


def required(condition: Condition, experiment: Experiment) -> str:
  """Returns a condition as a formula: `training-set error <= 1 %`."""
  metric = wording.describe_metric(condition.metric, experiment.declared)
  value = f"{condition.value * metric.factor:g}"
  unit = f" {metric.unit}" if metric.unit else ""
  return f"{metric.name} {condition.relation} {value}{unit}"


def _condition(
  condition: Condition, label: str, runs: pd.DataFrame, experiment: Experiment
) -> Cell:
  if not condition.concerns(label):
    return Cell("–")
  metric = wording.describe_metric(condition.metric, experiment.declared)
  value = mean_of(runs, label, condition.metric, experiment)
  if pd.isna(value):
    return Cell("unknown", style="trouble")
  met = condition.met_by(value)
  shown = f"{wording.number(value * metric.factor)}, {'met' if met else 'not met'}"
  return Cell(shown, style="" if met else "trouble")
