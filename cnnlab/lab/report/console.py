"""Tables for the terminal, made with rich: plans, summaries and verdicts of sweeps, and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cnnlab.lab.experiment import Experiment
from cnnlab.lab.plan import RunSpec
from cnnlab.lab.report import verdict_words, wording
from cnnlab.lab.statistics.verdicts import Verdict
from cnnlab.lab.variants import Overrides
from cnnlab.metrics import Metric
from cnnlab.runs.table import COLUMNS

_VERDICTS = {
  "holds": "green",
  "fails": "dark_orange",
  "inconclusive": "blue",
  "not tested": "dim",
}
_COLORS = {"done": "green", "running": "cyan", "interrupted": "yellow", "queued": "dim"}


def summary_table(experiment: Experiment, summary: pd.DataFrame, width: int | None = None) -> Table:
  """Returns the results of an experiment: one row per variant, the base in bold.

  Args:
    experiment: the experiment; its question is the title.
    summary: the table of `statistics.summarize`.
    width: width of the terminal in characters; the columns of costs, then that of the training set,
      are left out if they do not fit. None means no limit.
  """
  unbounded = Console(width=10_000)
  trained = bool(summary["trainset"].notna().any())
  for costs, training in ((True, trained), (False, trained), (False, False)):
    table = _summary_table(experiment, summary, costs, training)
    if width is None or Measurement.get(unbounded, unbounded.options, table).maximum <= width:
      break
  return table


def _summary_table(
  experiment: Experiment, summary: pd.DataFrame, costs: bool, training: bool
) -> Table:
  metric = wording.describe_metric(experiment.metric, experiment.declared)
  table = Table(
    title=Text(experiment.question),
    title_justify="left",
    title_style="bold",
    box=box.SIMPLE_HEAVY,
    pad_edge=False,
    collapse_padding=True,
    caption=_summary_caption(summary, costs),
    caption_justify="left",
  )
  table.add_column("variant", no_wrap=True)
  unit = f", {metric.unit}" if metric.unit else ""
  paired = "paired diff." if experiment.pairing == "seeds" else "difference"
  for heading in (
    f"{metric.name}{unit}\nmean ± 95 % CI",
    *(["training\nset"] if training else []),
    *(["paper"] if experiment.paper else []),
    f"{paired} from\n{experiment.base}{metric.difference_unit and ', ' + metric.difference_unit}",
    "p",
    *(["params", "mult-\nadds", "time"] if costs else []),
  ):
    table.add_column(heading, justify="right", no_wrap=True)
  table.add_column("runs", justify="right")
  for row in summary.to_dict("records"):
    table.add_row(*_summary_cells(row, experiment, metric.factor, costs, training))
  return table


def _summary_caption(summary: pd.DataFrame, costs: bool) -> str | None:
  notes = []
  if summary["trouble"].any():
    notes.append("In red: runs that are not done; no mean or interval includes them")
    notes.append(wording.explain_statuses(s for t in summary["trouble"] for s in _statuses(t)))
  if not costs:
    notes.append("Costs of each variant: in the report, or on a wider terminal")
  return ". ".join(note for note in notes if note) or None


def _statuses(trouble: str) -> list[str]:
  """Returns the statuses named in a text such as `1 diverged, 2 other config`."""
  return [part.partition(" ")[2] for part in trouble.split(", ") if part]


def _summary_cells(
  row: wording.Row, experiment: Experiment, factor: float, costs: bool, training: bool
) -> list[Text]:
  base = row["variant"] == experiment.base
  low, high = row["difference_low"] * factor, row["difference_high"] * factor
  difference = wording.with_interval(row["difference"] * factor, low, high, sign=True)
  published = experiment.paper.get(row["variant"])
  paper = [wording.number(published.value * factor) if published else ""]
  cost = [
    wording.count(row["parameters"]),
    wording.count(row["multiply_adds"]),
    wording.duration(row["seconds"]),
  ]
  cells = [
    row["variant"],
    wording.with_interval(row["mean"] * factor, row["low"] * factor, row["high"] * factor),
    *([wording.number(row["trainset"] * factor)] if training else []),
    *(paper if experiment.paper else []),
    "base" if base else difference,
    "" if base else wording.probability(row["p_value"]),
    *(cost if costs else []),
    str(row["done"]),
  ]
  if row["trouble"]:
    cells[-1] = f"{row['done']} of {row['asked']}: {row['trouble']}"
  style = "bold" if base else ""
  shown = [Text(cell, style=style) for cell in cells]
  if row["trouble"]:
    shown[-1].stylize("red")
  return shown


def verdict_table(verdicts: Sequence[Verdict], declared: Iterable[Metric] = ()) -> Table:
  """Returns the verdict on each claim, with the numbers it is based on.

  Args:
    verdicts: the verdicts of an experiment.
    declared: metrics of its task.
  """
  table = Table.grid(padding=(0, 2, 0, 0))
  table.add_column(no_wrap=True)
  table.add_column()
  for verdict in verdicts:
    claim, numbers, *notes = verdict_words.lines(verdict, declared)
    shown = Text(f"{claim}\n{numbers}")
    for note in notes:
      shown.append(f"\n{note}", style="dim")
    table.add_row(Text(verdict.verdict, style=f"bold {_VERDICTS[verdict.verdict]}"), shown)
  return table


def plan_table(specs: Sequence[RunSpec]) -> Group:
  """Returns the output of a dry run: each run, its state, what a sweep would do, and its overrides.

  Overrides that all runs share are shown once, below the table.
  """
  first = specs[0].overrides if len(specs) > 1 else {}
  shared = {k: v for k, v in first.items() if all(s.overrides.get(k, ...) == v for s in specs)}
  todo = sum(spec.to_do for spec in specs)
  table = Table(title=Text(f"{todo} of {len(specs)} runs to do"), title_justify="left")
  for heading in ("run", "state", "action", "overrides"):
    table.add_column(heading, overflow="fold")
  for spec in specs:
    action = ("train" if spec.state == "absent" else "resume") if spec.to_do else "skip"
    keys = _spelled({key: v for key, v in spec.overrides.items() if key not in shared})
    color = _COLORS.get(spec.state, "dim" if spec.state == "absent" else "red")
    table.add_row(Text(spec.name), Text(spec.state, style=color), Text(action), Text(keys))
  notes = [f"all runs: {_spelled(shared)}"] if shared else []
  meanings = wording.explain_statuses(spec.state for spec in specs)
  notes += [meanings] if meanings else []
  return Group(table, *map(Text, notes))


def _spelled(overrides: Overrides) -> str:
  return " ".join(f"{key}={value!r}" for key, value in overrides.items())


def runs_table(runs: pd.DataFrame, root: str, notes: Sequence[str] = ()) -> Table:
  """Returns the table of all runs in a directory tree.

  Args:
    runs: the table of `cnnlab.runs.table.table_of`.
    root: the directory, for the title.
    notes: sentences for the caption.
  """
  told = [*notes, wording.explain_statuses(runs["status"])]
  judged = runs.dropna(subset=["metric"]).to_dict("records")
  metrics = {_metric(row) for row in judged}
  only = next(iter(metrics)) if len(metrics) == 1 else None
  further = [name for name in runs.columns if name not in (*COLUMNS, "total_steps")]
  table = Table(
    title=Text(f"{len(runs)} runs below {root}"),
    title_justify="left",
    caption=Text(" ".join(note for note in told if note)) if any(told) else None,
    caption_justify="left",
  )
  table.add_column("run", overflow="fold")
  table.add_column("status", overflow="fold")
  table.add_column("step", justify="right", overflow="fold")
  if only is None:
    table.add_column("metric", overflow="fold")
  table.add_column(f"{only.label if only else ''}\nlast".strip(), justify="right")
  table.add_column("best\nseen" if only else "best seen", justify="right", style="dim")
  for name in further:
    heading = name.replace(".", ".\n").replace("/", "/\n")
    table.add_column(heading, justify="right", overflow="fold")
  if "differs" in runs:
    table.add_column("differs in", overflow="fold")
  elif runs["reason"].fillna("").any():
    table.add_column("reason", overflow="fold")
  for row in runs.to_dict("records"):
    table.add_row(*_run_cells(row, only is None, further)[: len(table.columns)])
  return table


def _run_cells(row: wording.Row, named: bool, further: Sequence[str]) -> list[Text]:
  missing = {key for key, value in row.items() if not isinstance(value, list) and pd.isna(value)}
  step = "" if "step" in missing else f"{row['step']:.0f}"
  if step and "total_steps" not in missing:
    step += f"/{row['total_steps']:.0f}"
  cells = [
    Text(row["run"]),
    Text(row["status"], style=_COLORS.get(row["status"], "red")),
    Text(step),
  ]
  if "metric" in missing:
    cells += [Text("")] * (2 + named)
  else:
    metric = _metric(row)
    digits = 2 if metric.unit == "%" else 4
    cells += [Text(metric.label)] if named else []
    cells += [Text(wording.number(row[name] * metric.factor, digits)) for name in ("last", "best")]
  cells += [Text("" if name in missing else _spell(row[name])) for name in further]
  note = Text(row.get("differs", ""))
  if row["reason"]:
    note.append((" — " if note.plain else "") + row["reason"].splitlines()[0], style="red")
  return [*cells, note]


def _metric(row: wording.Row) -> wording.ShownMetric:
  return wording.describe_metric(row["metric"], evaluated=row["evaluated"])


def _spell(value: object) -> str:
  return f"{value:.6g}" if isinstance(value, float) else str(value)
