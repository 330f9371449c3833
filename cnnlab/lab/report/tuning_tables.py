"""What tuning tried and chose, and what it cost, for a report."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import wording
from cnnlab.lab.report.tables import Cell, Column, Table
from cnnlab.lab.tuning import Tuning
from cnnlab.lab.variants import Overrides


class Tuned(NamedTuple):
  """The tuning of an experiment.

  Attributes:
    table: a row for each variant, a column for each setting, and what was chosen.
    cost: a sentence on runs and time.
    edge: a sentence on variants whose chosen value is at an end of the grid; may be empty.
  """

  table: Table
  cost: str
  edge: str


def tuned(experiment: Experiment, tried: pd.DataFrame, runs: pd.DataFrame) -> Tuned | None:
  """Returns what tuning tried and chose; None if the experiment tunes nothing.

  Args:
    experiment: the experiment, with `tuned` as the sweep chose.
    tried: the table of `results.collect_tuning`.
    runs: the table of `results.collect`.
  """
  tuning = experiment.tuning
  if tuning is None:
    return None
  metric = wording.describe_metric(experiment.tuning_metric, experiment.declared)
  sizes = tried["value"].abs() * metric.factor
  digits = wording.decimals(sizes[sizes > 0].min())
  settings = tuning.settings
  last = [Column("chosen", left=True)]
  table = Table([Column("variant", left=True), *map(Column, settings), *last])
  for label in experiment.variants:
    chosen = experiment.tuned.get(label)
    own = tried[tried["variant"] == label]
    values = [
      _setting(own[own["setting"] == name], metric.factor, digits, keys == chosen)
      for name, keys in settings.items()
    ]
    table.add(label, *values, _chosen(chosen, tuning))
  return Tuned(table, _cost(tried, runs), _edge(experiment, tuning))


def _edge(experiment: Experiment, tuning: Tuning) -> str:
  named = [
    f"{label} ({key} = {keys[key]})"
    for label, keys in experiment.tuned.items()
    for key in at_edge(tuning, keys)
  ]
  if not named:
    return ""
  return f"At the edge of the grid, so that a better value may lie beyond it: {', '.join(named)}."


def at_edge(tuning: Tuning, chosen: Overrides) -> list[str]:
  """Returns the tuned keys whose chosen value is the lowest or highest number that was tried."""
  found = []
  for key, tried in tuning.keys.items():
    numbers = [x for x in tried if isinstance(x, (int, float)) and not isinstance(x, bool)]
    whole = len(numbers) == len(tried) > 1
    if whole and chosen.get(key) in (min(numbers), max(numbers)):
      found.append(key)
  return found


def _setting(runs: pd.DataFrame, factor: float, digits: int, chosen: bool) -> Cell:
  if not len(runs):
    return Cell("–")
  value = float(pd.to_numeric(runs["value"], errors="coerce").mean(skipna=False))
  trouble = runs.loc[runs["status"] != "done", "status"].value_counts()
  note = ", ".join(f"{count} {status}" for status, count in trouble.items())
  if chosen:
    return Cell(wording.number(value * factor, digits), note="chosen", style="strong")
  return Cell(wording.number(value * factor, digits), note=note, style="trouble" if note else "")


def _chosen(chosen: Overrides | None, tuning: Tuning) -> Cell:
  if chosen is None:
    return Cell("not yet", style="trouble")
  edge = at_edge(tuning, chosen)
  note = "at the edge of the grid" if edge else ""
  return Cell(", ".join(f"{key} = {value}" for key, value in chosen.items()), note=note)


def _cost(tried: pd.DataFrame, runs: pd.DataFrame) -> str:
  spent, results = (
    float(pd.to_numeric(table["seconds"], errors="coerce").sum()) for table in (tried, runs)
  )
  return (
    f"Tuning took {len(tried)} runs and {wording.duration(spent)} of training, the results "
    f"{len(runs)} runs and {wording.duration(results)}."
  )
